"""Takes that a model makes for the evaluation, measured, and the speed of making them."""

import resource
import sys
import time
from collections.abc import Callable, Mapping, Sequence

import torch
from torch import Tensor

from layert2v_model.finishing.report import psnr
from layert2v_model.sampling.reuse import kept_layers, streams_of
from layert2v_model.stack import Stack
from layert2v_training.evaluation.asked_model import AskedModel
from layert2v_training.evaluation.baselines import TRUTH
from layert2v_training.evaluation.measured_shots import (
    Judges,
    OnShot,
    Section,
    Shot,
    measure_shot,
    other_words,
)
from layert2v_training.evaluation.metrics.take_figures import Values, measure_take
from layert2v_training.evaluation.prompts import ShotLine

OnTake = Callable[[Shot], None]
"""Is given a take as it passes."""


def generate(
    asked_model: AskedModel,
    lines: Sequence[ShotLine],
    truths: Sequence[Stack] | None,
    judges: Judges,
    on_shot: OnShot,
    num_regenerated: int = 1,
    on_take: OnTake = lambda _: None,
) -> tuple[Section, dict[str, float]]:
    """Make and measure a take for every line.

    Args:
        asked_model: The model.
        lines: Prompts of the takes.
        truths: Composed scenes for the same words: not what a take must equal, but the data it is
            to be as good as. They stand beside it as a baseline.
        judges: Judges of the meaning of pictures.
        on_shot: Called with a message about each shot.
        num_regenerated: First shots of which the last foreground is regenerated with another seed.
        on_take: Called with each take. None is kept.

    Returns:
        The figures, and the speed of making the takes, which differs from run to run.
    """
    section, speed = Section(), _Stopwatch(asked_model)
    for number, line in enumerate(lines):
        take = speed.take(line)
        shot = Shot(f"shot-{number + 1:03d}", take, line)
        on_take(shot)
        more = _regenerated(asked_model, take, line) if number < num_regenerated else {}
        other = other_words(lines, line)
        measure_shot(section, shot, other, judges, more)
        if truths is not None:
            truth = {**measure_take(truths[number]), **judges.measure(truths[number], line, other)}
            section.add_baseline(TRUTH, shot.name, truth)
        on_shot(f"made and measured {shot.name} of {len(lines)}")
    return section, speed.figures()


def _regenerated(asked_model: AskedModel, take: Stack, line: ShotLine) -> Values:
    """Regenerate the last foreground: kept layers must not change by a bit."""
    kept = kept_layers(take, regenerated=[len(take.foregrounds)])
    again = asked_model.kept_take(line.prompts(), line.seed + 1, given=kept)
    return {
        "regeneration_kept_change": change_of_given(kept, again),
        "regeneration_recomposition_drop": psnr(take) - psnr(again),
    }


def change_of_given(given: Mapping[str, Tensor], made: Stack) -> float:
    """Largest difference of given streams to those of the take: 0 if they are kept."""
    streams = streams_of(made)
    return max(float((streams[name] - frames).abs().max()) for name, frames in given.items())


class _Stopwatch:
    """Makes takes and counts what they cost."""

    def __init__(self, asked_model: AskedModel) -> None:
        self._model = asked_model
        self._seconds = 0.0
        self._frames = 0
        self._calls = 0
        self._tokens = 0

    def take(self, line: ShotLine) -> Stack:
        network = self._model.pipeline.transformer
        hook = network.register_forward_pre_hook(self._count)
        start = time.perf_counter()
        try:
            take = self._model.kept_take(line.prompts(), line.seed)
        finally:
            hook.remove()
        self._seconds += time.perf_counter() - start
        num_streams = 2 + 2 * len(take.foregrounds)
        self._frames += num_streams * len(take.full_TCHW)
        grid, patch = self._model.grid, network.config.patch_size
        _, frames, height, width = grid.latent_shape
        per_stream = (frames // patch[0]) * (height // patch[1]) * (width // patch[2])
        self._tokens = max(self._tokens, num_streams * per_stream)
        return take

    def _count(self, *_: object) -> None:
        self._calls += 1

    def figures(self) -> dict[str, float]:
        """Sum up all takes made so far."""
        return {
            "seconds": self._seconds,
            "seconds_per_frame_and_stream": self._seconds / max(self._frames, 1),
            "network_calls": self._calls,
            "most_tokens": self._tokens,
            "peak_memory_mib": _peak_memory_mib(),
        }


def _peak_memory_mib() -> float:
    """Measure the accelerator where there is one, else this process."""
    if torch.cuda.is_available():
        return float(torch.cuda.max_memory_allocated()) / 2**20
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak / 2**20 if sys.platform == "darwin" else peak / 2**10
