# SPDX-License-Identifier: GPL-3.0-or-later
"""Makes the strips of a take, through the data API only.

Blender's operators for strips crash 5.0 and 5.2 without a window. The channels of a take hold,
from below, the background, the foregrounds back to front, and the muted mattes and full video.
Blender's own render then equals the flattened stack.
"""

import uuid
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import bpy

from layert2v_client import ArtifactFormat, ArtifactKind

from .. import compat
from ..core.channels import Span, first_free_channel
from ..core.takes import Take
from .looks import Look, describe, files_shown, scene_rate, stored_path
from .strips import of_shot


@dataclass(frozen=True)
class Row:
    """Strip of a take, and its place in the sequencer."""

    kind: ArtifactKind
    """Kind of layer that the strip shows."""
    layer: int
    """Place of the layer in the stack. -1 is the full video."""
    name: str
    """Name of the strip."""
    is_muted: bool
    """Whether the strip is muted. Muted strips serve other uses than playback."""


def rows_of(take: Take) -> list[Row]:
    """List a take's strips from the lowest channel to the highest."""
    foregrounds = range(1, len(take.made.layers))
    return [
        Row(ArtifactKind.BACKGROUND, 0, "Background", is_muted=False),
        *[Row(ArtifactKind.FOREGROUND, k, f"Foreground {k}", is_muted=False) for k in foregrounds],
        *[Row(ArtifactKind.MATTE, k, f"Matte {k}", is_muted=True) for k in foregrounds],
        Row(ArtifactKind.FULL, -1, "Full", is_muted=True),
    ]


def import_take(
    scene: bpy.types.Scene, take: Take, frame_start: int, shot: str = ""
) -> list[compat.Strip]:
    """Make all strips of a take at a frame, or none, on free channels above other strips.

    They belong to `shot`. If it is empty, they belong to the take's shot, or to a new shot if the
    scene has strips of the take's already.

    Raises:
        NoFreeChannels: The strips do not fit.
        UnreadableTake: The take holds no PNG of a layer.
        ColourSpaceMissing: The OCIO configuration has no space for them.
    """
    shot = shot or (uuid.uuid4().hex if of_shot(scene, take.shot_uid) else take.shot_uid)
    look = Look(shot, scene_rate(scene), compat.colour_space(is_linear=False))
    rows = rows_of(take)
    files = [files_shown(take, row.kind, row.layer, ArtifactFormat.PNG, look.rate) for row in rows]
    editor = scene.sequence_editor or scene.sequence_editor_create()
    spans = [Span(s.channel, *compat.span(s)) for s in compat.strips(editor)]
    frame_end = frame_start + len(files[0])
    blocked = compat.blocked_channels(scene)
    channel = first_free_channel(spans, frame_start, frame_end, len(rows), blocked)
    made: list[Any] = []
    with compat.prefetch_off(scene):
        try:
            for index, (row, paths) in enumerate(zip(rows, files, strict=True)):
                made.append(_new_strip(editor, row, paths, channel + index, frame_start))
                describe(made[-1], take, row.kind, row.layer, ArtifactFormat.PNG, look)
        except BaseException:
            for strip in made:
                compat.strips(editor).remove(strip)
            raise
    return made


def _new_strip(editor: Any, row: Row, paths: Sequence[Path], channel: int, frame_start: int) -> Any:
    strip = compat.strips(editor).new_image(
        name=row.name,
        filepath=stored_path(paths[0]),
        channel=channel,
        frame_start=frame_start,
        fit_method="FIT",
    )
    for path in paths[1:]:
        strip.elements.append(path.name)
    strip.mute = row.is_muted
    strip.blend_type = "ALPHA_OVER"
    strip.blend_alpha = 1.0
    strip.select = False
    return strip
