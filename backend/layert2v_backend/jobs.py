"""A job, its history and its files, as the journal holds them.

Frozen values only: no wire, no torch.
"""

import re
from dataclasses import dataclass, field

from layert2v_domain.artifact import ArtifactFormat, ArtifactKind
from layert2v_domain.job import FinishingReport, JobError, JobState, Progress
from layert2v_domain.shot import Shot
from layert2v_words import UnknownWords

JOB_NAME = re.compile(r"jobs/([a-z0-9][a-z0-9-]{0,62})")
"""A job's name on the wire and in `KeptLayer`; its group is the id, which the backend uses."""


@dataclass(frozen=True)
class Artifact:
    """One stored file of a take, known by its SHA-256."""

    path: str
    """Where it belongs in a take's folder: `foreground_1/png/foreground_1_0001.png`."""
    kind: ArtifactKind
    """What it shows."""
    format: ArtifactFormat
    """How it is stored."""
    layer_index: int
    """The layer's place in the stack, 0 the background; -1 for full and manifest."""
    frame_index: int
    """Frame, from 0; -1 where the file is not a frame."""
    size_bytes: int
    """Length."""
    sha256: str
    """64 lower-case hexadecimal digits."""
    checksums: str = ""
    """Of each MiB, 16 hexadecimal digits; see `checksums.sums_at`. Empty for takes that were
    published before there were any."""

    @property
    def id(self) -> str:
        """Its id within the job, `[a-z0-9-]{1,63}`: `foreground-1-png-0001`."""
        folder, _, name = self.path.rpartition("/")
        stem = name.rpartition(".")[0]
        number = stem.rpartition("_")[2]
        return f"{folder}/{number}".replace("/", "-").replace("_", "-") if folder else stem


def layer_folder(kind: ArtifactKind, layer_index: int) -> str:
    """Name the folder of a layer in a take: `full`, `background`, `foreground_1`, `matte_1`."""
    is_numbered = kind in (ArtifactKind.FOREGROUND, ArtifactKind.MATTE)
    return f"{kind}_{layer_index}" if is_numbered else kind.value


def take_path(kind: ArtifactKind, form: ArtifactFormat, layer_index: int, frame_index: int) -> str:
    """Say where a frame belongs in a take's folder: `foreground_1/png/foreground_1_0001.png`.

    Frame files count from 0001, `frame_index` from 0.
    """
    folder = layer_folder(kind, layer_index)
    return f"{folder}/{form}/{folder}_{frame_index + 1:04d}.{form}"


@dataclass(frozen=True)
class Job:
    """The backend's unit of work, as the journal holds it."""

    id: str
    """`[a-z0-9-]{1,63}`."""
    shot: Shot
    """What is made, every default filled in."""
    state: JobState
    """Where it is in its life."""
    attempt: int
    """How often a worker has begun it."""
    last_sequence: int
    """Its latest event."""
    create_time: float
    """Unix seconds."""
    update_time: float
    """Unix seconds."""
    error: JobError | None = None
    """Present when FAILED."""
    report: FinishingReport | None = None
    """Present when SUCCEEDED and finishing ran."""
    seconds: dict[str, float] = field(default_factory=dict)
    """Seconds per stage, keyed by `JobStage`; when SUCCEEDED."""
    unknown_words: tuple[UnknownWords, ...] = ()
    """Prompts that the model's vocabulary did not cover when the job was created."""


@dataclass(frozen=True)
class JobEvent:
    """One entry of a job's history."""

    sequence: int
    """Per job, gapless, from 1."""
    attempt: int
    """The attempt that wrote it; 0: the front door."""
    time: float
    """Unix seconds."""
    what: JobState | Progress | str
    """A change of state, progress, or a sentence."""
