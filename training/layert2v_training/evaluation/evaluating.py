"""The run: takes from a model or from folders, measured beside baselines, as one report."""

import resource
import sys
import time
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from PIL import Image
from torch import Tensor

from layert2v_model.finishing.report import psnr
from layert2v_model.sampling.reuse import kept_layers, streams_of
from layert2v_model.stack import Stack
from layert2v_training.evaluation.alignment import Alignment
from layert2v_training.evaluation.baselines import TRUTH, baselines_of
from layert2v_training.evaluation.measuring import Values, measure_take, summarise
from layert2v_training.evaluation.oracle import Oracle
from layert2v_training.evaluation.pictures import page_picture, page_titles, sheet_row
from layert2v_training.evaluation.prompts import ShotLine
from layert2v_training.evaluation.studio import Studio

OnShot = Callable[[str], None]
"""Told what is done, for people who wait."""


@dataclass(frozen=True, eq=False)
class Judges:
    """What knows the meaning of pictures; each may be missing."""

    oracle: Oracle | None = None
    alignment: Alignment | None = None

    def measure(self, take: Stack, line: ShotLine | None, other: ShotLine | None) -> Values:
        """Measure a take against its own words; `other` is a shot whose words do not fit."""
        if line is None:
            return {}
        values: Values = {}
        if self.oracle is not None:
            values |= self.oracle.measure(take, line)
        if self.alignment is not None:
            values |= self.alignment.measure(take, line, other)
        return values


@dataclass(frozen=True, eq=False)
class Shot:
    """A take to be measured, and what is known of it."""

    name: str
    take: Stack
    line: ShotLine | None = None
    truth: Stack | None = None


OnTake = Callable[[Shot], None]
"""Given a take as it passes."""


@dataclass(eq=False)
class Section:
    """Shots measured by one way, and the same shots by baselines."""

    shots: list[dict[str, Any]] = field(default_factory=list)
    """Name, words, seed, titles of the picture, and `values`."""
    baselines: dict[str, list[dict[str, Any]]] = field(default_factory=dict)
    pictures: dict[str, Image.Image] = field(default_factory=dict)
    rows: list[Tensor] = field(default_factory=list)
    """Of the sheet."""

    def add(self, shot: Shot, values: Values) -> None:
        """Take in a measured shot."""
        words = shot.line.model_dump() if shot.line else {}
        titles = page_titles(len(shot.take.foregrounds))
        self.shots.append({"name": shot.name, **words, "titles": titles, "values": values})
        self.pictures[shot.name] = page_picture(shot.take)
        self.rows.append(sheet_row(shot.take))

    def add_baseline(self, method: str, name: str, values: Values) -> None:
        """Take in a baseline's figures of a shot."""
        self.baselines.setdefault(method, []).append({"name": name, "values": values})

    def summary(self) -> dict[str, Any]:
        """Mean and worst per metric, of the shots and of each baseline."""
        return {
            "metrics": _summary(self.shots),
            "baselines": {name: _summary(shots) for name, shots in self.baselines.items()},
            "shots": self.shots,
            "baseline_shots": self.baselines,
        }


def _summary(shots: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    return summarise({shot["name"]: shot["values"] for shot in shots})


def other_words(lines: Sequence[ShotLine], own: ShotLine | None) -> ShotLine | None:
    """Words of the next shot: the floor of alignment; None where there is but one."""
    if own is None or len(lines) < 2:
        return None
    return lines[(lines.index(own) + 1) % len(lines)]


def measure_shots(
    shots: Iterable[Shot], lines: Sequence[ShotLine], judges: Judges, on_shot: OnShot
) -> Section:
    """Measure takes that exist, beside the truth where it is known and what knows nothing.

    Args:
        shots: Read one by one, none is kept.
        lines: The words of all shots, or none.
        judges: Know what pictures mean.
        on_shot: Is told of each.
    """
    section = Section()
    for shot in shots:
        measure_shot(section, shot, other_words(lines, shot.line), judges)
        on_shot(f"measured {shot.name}")
    return section


def measure_shot(
    section: Section,
    shot: Shot,
    other: ShotLine | None,
    judges: Judges,
    more: Values | None = None,
    left_out: Collection[str] = (),
) -> None:
    """Measure a take and its baselines into a section.

    Args:
        section: Takes the figures in.
        shot: The take, its words and truth.
        other: Words that do not fit it.
        judges: Know what pictures mean.
        more: Figures that come from elsewhere.
        left_out: Figures that say nothing about this take.
    """
    values = measure_take(shot.take, shot.truth)
    values |= {**judges.measure(shot.take, shot.line, other), **(more or {})}
    section.add(shot, {name: x for name, x in values.items() if name not in left_out})
    stacks = baselines_of(shot.take.full_TCHW, len(shot.take.foregrounds))
    if shot.truth is not None:
        stacks = {TRUTH: shot.truth, **stacks}
    for method, stack in stacks.items():
        known = {**measure_take(stack, shot.truth), **judges.measure(stack, shot.line, other)}
        section.add_baseline(method, shot.name, known)


def generate(
    studio: Studio,
    lines: Sequence[ShotLine],
    truths: Sequence[Stack] | None,
    judges: Judges,
    on_shot: OnShot,
    num_regenerated: int = 1,
    on_take: OnTake = lambda _: None,
) -> tuple[Section, dict[str, float]]:
    """Make and measure a take for every line.

    Args:
        studio: The model.
        lines: What is asked for.
        truths: Composed scenes for the same words: not what a take must equal, but the data it is
            to be as good as. They stand beside it as a baseline.
        judges: Know what pictures mean.
        on_shot: Is told of each.
        num_regenerated: First shots of which the last foreground is made anew with another seed.
        on_take: Is given each take; none is kept.

    Returns:
        The figures, and the speed of making the takes, which differs from run to run.
    """
    section, speed = Section(), _Stopwatch(studio)
    for number, line in enumerate(lines):
        take = speed.take(line)
        shot = Shot(f"shot-{number + 1:03d}", take, line)
        on_take(shot)
        more = _regenerated(studio, take, line) if number < num_regenerated else {}
        other = other_words(lines, line)
        measure_shot(section, shot, other, judges, more)
        if truths is not None:
            truth = {**measure_take(truths[number]), **judges.measure(truths[number], line, other)}
            section.add_baseline(TRUTH, shot.name, truth)
        on_shot(f"made and measured {shot.name} of {len(lines)}")
    return section, speed.figures()


def _regenerated(studio: Studio, take: Stack, line: ShotLine) -> Values:
    """Make the last foreground anew: kept layers must not change by a bit."""
    kept = kept_layers(take, anew=[len(take.foregrounds)])
    again = studio.kept_take(line.prompts(), line.seed + 1, given=kept)
    return {
        "regeneration_kept_change": largest_change(kept, again),
        "regeneration_recomposition_drop": psnr(take) - psnr(again),
    }


def largest_change(given: Mapping[str, Tensor], made: Stack) -> float:
    """Largest difference of given streams to those of the take: 0 if they are kept."""
    streams = streams_of(made)
    return max(float((streams[name] - frames).abs().max()) for name, frames in given.items())


class _Stopwatch:
    """Makes takes and counts what they cost."""

    def __init__(self, studio: Studio) -> None:
        self._studio = studio
        self._seconds = 0.0
        self._frames = 0
        self._calls = 0
        self._tokens = 0

    def take(self, line: ShotLine) -> Stack:
        network = self._studio.pipeline.transformer
        hook = network.register_forward_pre_hook(self._count)
        start = time.perf_counter()
        try:
            take = self._studio.kept_take(line.prompts(), line.seed)
        finally:
            hook.remove()
        self._seconds += time.perf_counter() - start
        num_streams = 2 + 2 * len(take.foregrounds)
        self._frames += num_streams * len(take.full_TCHW)
        grid, patch = self._studio.grid, network.config.patch_size
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
    """Of the accelerator where there is one, else of this process."""
    if torch.cuda.is_available():
        return float(torch.cuda.max_memory_allocated()) / 2**20
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak / 2**20 if sys.platform == "darwin" else peak / 2**10
