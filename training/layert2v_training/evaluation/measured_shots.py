"""Takes measured beside their truth and baselines, and the figures of all of them."""

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from PIL import Image
from torch import Tensor

from layert2v_model.stack import Stack
from layert2v_training.evaluation.baselines import TRUTH, baselines_of
from layert2v_training.evaluation.metrics.alignment import Alignment
from layert2v_training.evaluation.metrics.oracle import Oracle
from layert2v_training.evaluation.metrics.take_figures import Values, measure_take, summarise
from layert2v_training.evaluation.prompts import ShotLine
from layert2v_training.evaluation.take_pictures import page_picture, page_titles, sheet_row

OnShot = Callable[[str], None]
"""Told what is done, for people who wait."""


@dataclass(frozen=True, eq=False)
class Judges:
    """Judges of the meaning of pictures. Each may be missing."""

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


@dataclass(eq=False)
class Section:
    """Shots measured by one way, and the same shots by baselines."""

    shots: list[dict[str, Any]] = field(default_factory=list)
    """Name, words, seed, titles of the picture, and `values`."""
    baselines: dict[str, list[dict[str, Any]]] = field(default_factory=dict)
    pictures: dict[str, Image.Image] = field(default_factory=dict)
    rows: list[Tensor] = field(default_factory=list)
    """Rows of the sheet."""

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
        judges: Judges of the meaning of pictures.
        on_shot: Called with a message about each shot.
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
        section: Section that takes the figures in.
        shot: The take, its words and truth.
        other: Words that do not fit it.
        judges: Judges of the meaning of pictures.
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
