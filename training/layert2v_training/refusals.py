"""Errors that a user of `layert2v-train` can fix, told in one sentence with status 2."""

import errno
from collections.abc import Iterator
from contextlib import contextmanager

import typer
from safetensors import SafetensorError

from layert2v_model.errors import (
    DamagedModel,
    InvalidCheckpoint,
    InvalidFixture,
    InvalidShot,
    NotFinite,
)
from layert2v_training.costs.needs import DoesNotFit
from layert2v_training.data.problems import BadClip, BadClips
from layert2v_training.learning.checkpoint import CheckpointMismatch, CheckpointNotSaved
from layert2v_training.learning.launching import UnsupportedLaunch
from layert2v_training.learning.non_finite import Diverged
from layert2v_training.runs.average import CannotAverage
from layert2v_training.runs.model_export import InvalidOut
from layert2v_training.runs.overrides import InvalidRecipe
from layert2v_training.runs.run import MissingPart
from layert2v_training.runs.run_binding import RunDiffers
from layert2v_training.scenes.assets import AssetsUnavailable

REFUSALS = (
    AssetsUnavailable,
    BadClip,
    BadClips,
    CannotAverage,
    CheckpointMismatch,
    CheckpointNotSaved,
    DamagedModel,
    Diverged,
    DoesNotFit,
    InvalidCheckpoint,
    InvalidFixture,
    InvalidOut,
    InvalidRecipe,
    InvalidShot,
    MissingPart,
    NotFinite,
    UnsupportedLaunch,
    RunDiffers,
)
"""Errors that a user can fix. Their messages say how."""


@contextmanager
def refusing() -> Iterator[None]:
    """Print an error that a user can fix as one sentence, and end with status 2.

    Raises:
        typer.Exit: With 2, for one of `REFUSALS` or a full disk.
    """
    try:
        yield
    except REFUSALS as error:
        typer.echo(str(error), err=True)
        raise typer.Exit(2) from error
    # Libraries say a full disk in ways of their own, all but ours from an OSError of that number.
    except (OSError, RuntimeError, SafetensorError) as error:
        if not is_full_disk(error):
            raise
        typer.echo(
            f"the disk is full ({error}); make room, or choose another --out or fewer num_clips, "
            f"and run the same command again",
            err=True,
        )
        raise typer.Exit(2) from error


def is_full_disk(error: BaseException | None) -> bool:
    """Tell whether an error, or what led to it, says that nothing more can be written."""
    while error is not None:
        numbers = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
        if isinstance(error, OSError) and error.errno in numbers:
            return True
        words = ("os error 28", "No space left", "file write failed", "unexpected pos")
        if any(said in str(error) for said in words):
            return True
        error = error.__cause__ or error.__context__
    return False
