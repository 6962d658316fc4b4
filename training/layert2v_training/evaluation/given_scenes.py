"""Takes of held-out scenes with some of their streams given: family C.

A subset is named by its streams: `full` (taking a video apart), `full+background` (with a clean
plate), `foreground_1` (colour on black: its matte, and the scene around it), `background`, ...
"""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from torch import Tensor

from layert2v_model.alpha import premultiply
from layert2v_model.sampling.reuse import streams_of
from layert2v_model.stack import Stack
from layert2v_training.evaluation.asked_model import AskedModel
from layert2v_training.evaluation.generated_shots import change_of_given
from layert2v_training.evaluation.measured_shots import (
    Judges,
    OnShot,
    Section,
    Shot,
    measure_shot,
)
from layert2v_training.evaluation.prompts import BadInput, ShotLine

FULL = ("full",)
"""The subset that is measured if none is named."""
_STREAMS = ("full", "background", "foreground_1", "alpha_1")
"""Streams of held-out scenes, which have one foreground."""
_SHARED = ("recomposition_before", "recomposition_core", "ghost_slope", "spill", "warp_error")
"""Figures that mean the same whether streams are given or not, and need no truth."""

Subset = tuple[str, ...]


def read_subset(words: str) -> Subset:
    """Read `full+background` as a subset, in the model's order of streams.

    Raises:
        BadInput: A name is no stream, comes twice, or nothing is left to make.
    """
    names = words.split("+")
    for name in names:
        if name not in _STREAMS:
            raise BadInput(
                f"--given {words} names {name or 'nothing'}, held-out scenes have "
                f"{', '.join(_STREAMS)}: join some of these by +"
            )
    if len(set(names)) < len(names):
        raise BadInput(f"--given {words} names a stream twice: name it once")
    if set(names) == set(_STREAMS):
        raise BadInput(f"--given {words} leaves nothing to make: take a stream away")
    return tuple(name for name in _STREAMS if name in names)


def given_of(truth: Stack, subset: Subset) -> dict[str, Tensor]:
    """Give a scene's exact streams; a colour without its alpha as the model stores it, on black."""
    streams = streams_of(truth)
    given = {name: streams[name] for name in subset}
    if "foreground_1" in given and "alpha_1" not in given:
        given["foreground_1"] = premultiply(streams["foreground_1"], streams["alpha_1"])
    return given


def make_given(
    asked_model: AskedModel,
    lines: Sequence[ShotLine],
    truths: Sequence[Stack],
    subset: Subset,
    on_shot: OnShot,
) -> Section:
    """Give a subset of each scene's streams, and compare what is made with the true layers.

    Mattes and colours are compared where the subject is given in some form, the hidden plate where
    the full video is. Elsewhere the model is free, and the figures say how good the take is.
    """
    section, words = Section(), "+".join(subset)
    for number, (line, truth) in enumerate(zip(lines, truths, strict=True), start=1):
        given = given_of(truth, subset)
        take = asked_model.kept_take(line.prompts(), line.seed, given)
        is_determined = subset != ("background",)
        shot = Shot(f"{words}-{number:03d}", take, line, truth if is_determined else None)
        more = {"given_change": change_of_given(given, take)}
        left_out = () if "full" in subset else ("plate_under_foreground",)
        measure_shot(section, shot, None, Judges(), more, left_out)
        on_shot(f"made and measured {shot.name} of {len(lines)}, {words} given")
    return section


def beside_generated(
    section: Section, generated: Sequence[Mapping[str, Any]]
) -> dict[str, dict[str, float]]:
    """Figures of the same scenes with the subset given and with nothing given, and what it gains.

    Source: C1 of docs/evaluation.md.
    """
    pairs = list(zip(section.shots, generated, strict=False))
    found = {}
    for name in _SHARED:
        both = [
            (given["values"][name], free["values"][name])
            for given, free in pairs
            if name in given["values"] and name in free["values"]
        ]
        if both:
            given, free = np.mean(both, axis=0).tolist()
            found[name] = {"given": given, "generated": free, "gap": given - free}
    return found
