# SPDX-License-Identifier: GPL-3.0-or-later
"""Gives strips another take of a layer, another format or another rate, in place."""

from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any

import bpy

from layert2v_client import ArtifactFormat, ArtifactKind

from .. import compat
from ..core.takes import Take
from . import provenance
from .looks import Look, describe, files_shown, rate_of, stored_path
from .strips import of_shot, take_of


def show_take(scene: bpy.types.Scene, take: Take, layer: int, shot: str = "") -> list[compat.Strip]:
    """Show another take in a layer's strips and mattes and in the full video's strips.

    Place, trims, channel, modifiers and keyframes stay. So does the rate that the shot was laid
    out for, so that its layers stay together if the scene's rate has changed. Strips that the
    user deleted stay deleted. All strips change or none. An empty `shot` means the take's.

    Raises:
        UnreadableTake: The take holds no files of a strip's kind.
        ColourSpaceMissing: The OCIO configuration has no space for them.
    """
    shot = shot or take.shot_uid
    layers = {layer, -1} if layer >= 0 else {layer}
    changed = [strip for strip, each in of_shot(scene, shot) if each.layer in layers]
    apply(scene, [plan(scene, strip, take) for strip in changed])
    return changed


def show_format(scene: bpy.types.Scene, shot: str, file_format: ArtifactFormat) -> int:
    """Show a shot's layers from PNG or from the EXR masters. Mattes stay PNG.

    Returns:
        Number of changed strips.

    Raises:
        UnreadableTake: A take was fetched without that format.
        ColourSpaceMissing: The OCIO configuration has no space for it.
    """
    plans = [
        plan(scene, strip, take_of(strip), file_format=file_format)
        for strip, each in of_shot(scene, shot)
        if each.role != ArtifactKind.MATTE
    ]
    apply(scene, plans)
    return len(plans)


@dataclass(frozen=True)
class Plan:
    """Planned media of one strip."""

    strip: compat.Strip
    """Strip that gets the media."""
    take: Take
    """Take that the strip will show."""
    kind: ArtifactKind
    """Kind of the layer."""
    layer: int
    """Place of the layer in the stack."""
    file_format: ArtifactFormat
    """Format of the files."""
    paths: Sequence[Path]
    """Paths of the files, one for each scene frame."""
    look: Look
    """Look of the strip."""


def plan(
    scene: bpy.types.Scene,
    strip: compat.Strip,
    take: Take,
    *,
    file_format: ArtifactFormat | None = None,
    rate: Fraction | None = None,
) -> Plan:
    """Plan a strip's new media. Format and rate stay as they are if they are None.

    Raises:
        UnreadableTake: The take holds no files of the strip's kind.
        ColourSpaceMissing: The OCIO configuration has no space for them.
    """
    each = provenance.read_or_none(strip)
    assert each is not None
    kind, chosen = ArtifactKind(each.role), file_format or ArtifactFormat(each.format)
    if file_format is None and not take.frames(kind, each.layer, chosen):
        chosen = ArtifactFormat.PNG
    rate = rate or rate_of(scene, each)
    space = compat.colour_space(is_linear=chosen is ArtifactFormat.EXR)
    paths = files_shown(take, kind, each.layer, chosen, rate)
    return Plan(strip, take, kind, each.layer, chosen, paths, Look(each.shot, rate, space))


def apply(scene: bpy.types.Scene, plans: Sequence[Plan]) -> None:
    """Change every strip as planned. If one of them fails, restore all strips and raise."""
    before = [_state_of(each.strip) for each in plans]
    with compat.prefetch_off(scene):
        try:
            for plan in plans:
                _relink(plan.strip, plan.paths)
                describe(plan.strip, plan.take, plan.kind, plan.layer, plan.file_format, plan.look)
        except BaseException:
            for each, state in zip(plans, before, strict=True):
                _put_back(each.strip, state)
            raise


@dataclass(frozen=True)
class _State:
    directory: str
    names: tuple[str, ...]
    span: tuple[int, int]
    alpha_mode: str
    space: str
    stored: dict[str, Any]


def _state_of(strip: compat.Strip) -> _State:
    return _State(
        directory=strip.directory,
        names=tuple(element.filename for element in strip.elements),
        span=compat.span(strip),
        alpha_mode=strip.alpha_mode,
        space=strip.colorspace_settings.name,
        stored=strip[provenance.KEY].to_dict(),
    )


def _put_back(strip: compat.Strip, state: _State) -> None:
    _set_media(strip, state.directory, state.names)
    compat.set_span(strip, *state.span)
    strip.alpha_mode = state.alpha_mode
    if state.space:
        strip.colorspace_settings.name = state.space
    strip[provenance.KEY] = state.stored


def _relink(strip: compat.Strip, paths: Sequence[Path]) -> None:
    """Give a strip other files and keep its trims. A shorter sequence clamps the right one."""
    frame_start, frame_end = compat.span(strip)
    first, last = compat.content_span(strip)
    _set_media(strip, stored_path(paths[0].parent), [path.name for path in paths])
    if frame_end == last:
        frame_end = first + len(paths)
    frame_end = min(frame_end, first + len(paths))
    compat.set_span(strip, min(frame_start, frame_end - 1), frame_end)


def _set_media(strip: compat.Strip, directory: str, names: Sequence[str]) -> None:
    elements = strip.elements
    for index, name in enumerate(names):
        if index < len(elements):
            elements[index].filename = name
        else:
            elements.append(name)
    while len(elements) > len(names):
        elements.pop(index=len(elements) - 1)
    # The folder is assigned last, because 5.x shows cached frames until it is assigned.
    strip.directory = directory
