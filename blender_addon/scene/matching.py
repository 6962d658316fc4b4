# SPDX-License-Identifier: GPL-3.0-or-later
"""Gives a scene the size and rate of a shot, and fits and times its generated strips to them."""

from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from itertools import pairwise

import bpy

from .. import compat
from ..core.channels import NoFreeChannels
from ..core.timing import scene_fps, split_fps
from . import looks, provenance, relinking, strips


@dataclass(frozen=True)
class Format:
    """Size and rate of a scene."""

    width: int
    """Width in pixels."""
    height: int
    """Height in pixels."""
    rate: Fraction
    """Frame rate in frames per second."""


@dataclass(frozen=True)
class _Retimed:
    plan: relinking.Plan
    span: tuple[int, int]


def format_of(scene: bpy.types.Scene) -> Format:
    """Read a scene's size and rate."""
    render = scene.render
    scale = render.resolution_percentage / 100
    width, height = (round(side * scale) for side in (render.resolution_x, render.resolution_y))
    return Format(width, height, scene_fps(render.fps, render.fps_base))


def generated_strips(scene: bpy.types.Scene) -> list[compat.Strip]:
    """List the strips that show layers of takes."""
    found = compat.all_strips(scene)
    return [s for s in found if compat.is_image(s) and provenance.read_or_none(s) is not None]


def match(scene: bpy.types.Scene, wanted: Format) -> None:
    """Change the scene's size and rate. Generated strips fill the picture and last as before.

    A strip keeps its first frame, the time of its trims and the user's changes of its scale. The
    change is made as a whole or not at all.

    Raises:
        UnreadableTake: A strip's take has lost files.
        NoFreeChannels: A longer strip would run into another one.
        ColourSpaceMissing: The OCIO configuration has no space for a strip.
    """
    before, members = format_of(scene), generated_strips(scene)
    retimed = [_retimed(scene, strip, wanted.rate) for strip in members]
    _check_room(scene, retimed)
    relinking.apply(scene, [each.plan for each in retimed])
    for each in retimed:
        compat.set_span(each.plan.strip, *each.span)
        _refit(each.plan, before, wanted)
    render = scene.render
    render.resolution_x, render.resolution_y = wanted.width, wanted.height
    render.resolution_percentage = 100
    render.fps, render.fps_base = split_fps(wanted.rate)


def _retimed(scene: bpy.types.Scene, strip: compat.Strip, rate: Fraction) -> _Retimed:
    described = provenance.read_or_none(strip)
    assert described is not None
    plan = relinking.plan(scene, strip, strips.take_of(strip), rate=rate)
    is_timed = plan.take.fps > 0
    ratio = rate / looks.rate_of(scene, described) if is_timed else Fraction(1)
    first = compat.content_span(strip)[0]
    start, end = (round((frame - first) * ratio) for frame in compat.span(strip))
    end = min(max(end, 1), len(plan.paths))
    return _Retimed(plan, (first + min(start, end - 1), first + end))


def _check_room(scene: bpy.types.Scene, retimed: Sequence[_Retimed]) -> None:
    new_spans = {each.plan.strip.name: each.span for each in retimed}
    rows: dict[int, list[tuple[int, int, str]]] = {}
    for strip in compat.strips(scene.sequence_editor) if scene.sequence_editor else ():
        start, end = new_spans.get(strip.name, compat.span(strip))
        rows.setdefault(strip.channel, []).append((start, end, strip.name))
    for row in rows.values():
        row.sort()
        for (_, end, name), (start, _, other) in pairwise(row):
            if start < end and {name, other} & set(new_spans):
                raise NoFreeChannels(
                    f"With the new frame rate '{name}' would run into '{other}'. Move one of them "
                    "first."
                )


def _refit(plan: relinking.Plan, before: Format, wanted: Format) -> None:
    made, transform = plan.take.made, plan.strip.transform
    fits = [min(each.width / made.width, each.height / made.height) for each in (before, wanted)]
    transform.scale_x *= fits[1] / fits[0]
    transform.scale_y *= fits[1] / fits[0]
    transform.offset_x *= wanted.width / before.width
    transform.offset_y *= wanted.height / before.height
