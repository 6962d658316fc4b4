# SPDX-License-Identifier: GPL-3.0-or-later
"""Finds strips of takes, the layers that a shot shows, and its other takes."""

from typing import Any

import bpy

from layert2v_client import ArtifactKind

from .. import compat
from ..core.takes import Take, UnreadableTake, load_take, takes_of_shot
from . import provenance
from .provenance import Provenance


def is_imported(scene: bpy.types.Scene, job: str) -> bool:
    """Whether any strip of the scene shows a job's take."""
    found = (provenance.read_or_none(strip) for strip in compat.all_strips(scene))
    return any(each is not None and each.job == job for each in found)


def take_of(strip: compat.Strip) -> Take:
    """Read the take that a strip shows from its present folder. Do not check its frames.

    Raises:
        UnreadableTake: The strip shows no take, or its description is gone.
    """
    if provenance.read_or_none(strip) is None or not compat.is_image(strip):
        raise UnreadableTake("The selected strip shows no take. Select a generated strip.")
    return load_take(compat.media_folder(strip).parent.parent, is_checked=False)


def has_layer(scene: bpy.types.Scene, shot: str, layer: int) -> bool:
    """Whether a layer of a shot, not just its matte, is on the timeline."""
    return any(
        each.layer == layer and each.role != ArtifactKind.MATTE for _, each in of_shot(scene, shot)
    )


def of_shot(scene: bpy.types.Scene, shot: str) -> list[tuple[Any, Provenance]]:
    """List the strips of a shot with their provenance."""
    pairs = [(strip, provenance.read_or_none(strip)) for strip in compat.all_strips(scene)]
    return [(strip, each) for strip, each in pairs if each is not None and each.shot == shot]


def shown(scene: bpy.types.Scene, shot: str) -> dict[int, Provenance]:
    """Give the provenance shown for every layer of a shot with strips. -1 is the full video."""
    return {each.layer: each for _, each in of_shot(scene, shot) if each.role != ArtifactKind.MATTE}


def neighbour_takes(strip: compat.Strip, step: int) -> list[Take]:
    """List the other takes, from the next (1) or previous (-1) take on, and wrap around.

    Only descriptions of takes are read, not their frames, because this runs on the main thread.

    Raises:
        UnreadableTake: The strip shows no take, or the shot has only one.
    """
    shown = take_of(strip)
    takes = takes_of_shot(shown.folder.parent, is_checked=False)
    folders = [take.folder.name for take in takes]
    if len(takes) < 2 or shown.folder.name not in folders:
        raise UnreadableTake("The shot has only this take. Regenerate a layer to get another.")
    place = folders.index(shown.folder.name)
    return [takes[(place + step * away) % len(takes)] for away in range(1, len(takes))]
