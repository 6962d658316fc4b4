# SPDX-License-Identifier: GPL-3.0-or-later
"""Takes as strips, through the data API only: its operators crash 5.0 and 5.2 without a window.

Channels of a take, from below: background, foregrounds back to front, then muted: the mattes and
the full video. Blender's own render then equals the flattened stack.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import bpy

from layert2v_client import ArtifactFormat, ArtifactKind

from .. import compat
from ..core.channels import Span, first_free_channel
from ..core.takes import Take, UnreadableTake, load_take, takes_of_shot
from ..core.timing import frames_shown, scene_fps, take_fps
from . import provenance
from .provenance import Provenance


@dataclass(frozen=True)
class Row:
    """One strip of a take: what it shows and how it stands in the sequencer."""

    kind: ArtifactKind
    """What it shows."""
    layer: int
    """Place in the stack; -1 for the full video."""
    name: str
    """Of the strip."""
    is_muted: bool
    """Whether it stands by for other uses."""


def rows_of(take: Take) -> list[Row]:
    """List a take's strips from the lowest channel to the highest."""
    foregrounds = range(1, len(take.made.layers))
    return [
        Row(ArtifactKind.BACKGROUND, 0, "Background", is_muted=False),
        *[Row(ArtifactKind.FOREGROUND, k, f"Foreground {k}", is_muted=False) for k in foregrounds],
        *[Row(ArtifactKind.MATTE, k, f"Matte {k}", is_muted=True) for k in foregrounds],
        Row(ArtifactKind.FULL, -1, "Full", is_muted=True),
    ]


def is_imported(scene: Any, job: str) -> bool:
    """Whether any strip of the scene shows a job's take."""
    found = (provenance.read_or_none(strip) for strip in compat.all_strips(scene))
    return any(each is not None and each.job == job for each in found)


def import_take(scene: Any, take: Take, frame_start: int) -> list[Any]:
    """Make the strips of a take at a frame, on free channels above what is there.

    Raises:
        NoFreeChannels: They do not fit.
        UnreadableTake: The take holds no PNG of a layer.
    """
    editor = scene.sequence_editor or scene.sequence_editor_create()
    rows = rows_of(take)
    files = [_files(scene, take, row.kind, row.layer, ArtifactFormat.PNG) for row in rows]
    spans = [Span(s.channel, *compat.span(s)) for s in compat.strips(editor)]
    frame_end = frame_start + len(files[0])
    blocked = compat.blocked_channels(scene)
    channel = first_free_channel(spans, frame_start, frame_end, len(rows), blocked)
    with compat.prefetch_off(scene):
        return [
            _make_strip(scene, take, row, paths, channel + index, frame_start)
            for index, (row, paths) in enumerate(zip(rows, files, strict=True))
        ]


def _files(
    scene: Any, take: Take, kind: ArtifactKind, layer: int, file_format: ArtifactFormat
) -> list[Path]:
    """List the file shown at each scene frame, as the scene's frame rate has it."""
    frames = take.frames(kind, layer, file_format)
    if not frames:
        raise UnreadableTake(
            f"The take in {take.folder} holds no {file_format} of {kind} {max(layer, 0)}: "
            "generate it anew."
        )
    rate = scene_fps(scene.render.fps, scene.render.fps_base)
    return [frames[index] for index in frames_shown(len(frames), take_fps(take.fps), rate)]


def _make_strip(
    scene: Any, take: Take, row: Row, paths: Sequence[Path], channel: int, frame_start: int
) -> Any:
    strip = compat.strips(scene.sequence_editor).new_image(
        name=row.name,
        filepath=_stored(paths[0]),
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
    _describe(strip, take, row.kind, row.layer, ArtifactFormat.PNG)
    return strip


def _describe(
    strip: Any, take: Take, kind: ArtifactKind, layer: int, file_format: ArtifactFormat
) -> None:
    """Set how the media are read, and say where they come from."""
    is_exr = file_format is ArtifactFormat.EXR
    strip.alpha_mode = "PREMUL" if is_exr else "STRAIGHT"
    strip.colorspace_settings.name = compat.LINEAR if is_exr else compat.SRGB
    path = _stored(take.folder)
    described = provenance.of_take(take, kind, layer, path, str(file_format))
    provenance.write(strip, described)


def _stored(path: Path) -> str:
    """Write a path as it goes into the .blend: relative where it can be."""
    if not bpy.data.filepath:
        return str(path)
    try:
        return str(bpy.path.relpath(str(path)))
    except ValueError:  # another drive of Windows
        return str(path)


def take_of(strip: Any) -> Take:
    """Read the take that a strip shows, from where its media lie now.

    Raises:
        UnreadableTake: The strip shows none, or its files are gone.
    """
    if provenance.read_or_none(strip) is None or not compat.is_image(strip):
        raise UnreadableTake("The selected strip shows no take: select one that was generated.")
    directory = Path(bpy.path.abspath(strip.directory))
    return load_take(directory.parent.parent)


def strips_of_layer(scene: Any, shot: str, layer: int) -> list[Any]:
    """List the strips that show a layer of a shot, or its matte; splits give several."""
    return [strip for strip, each in _of_shot(scene, shot) if each.layer == layer]


def _of_shot(scene: Any, shot: str) -> list[tuple[Any, Provenance]]:
    pairs = [(strip, provenance.read_or_none(strip)) for strip in compat.all_strips(scene)]
    return [(strip, each) for strip, each in pairs if each is not None and each.shot == shot]


def jobs_shown(scene: Any, shot: str) -> dict[int, str]:
    """Give, for every layer of a shot that has strips, the job whose take they show."""
    return {each.layer: each.job for _, each in _of_shot(scene, shot)}


def show_take(scene: Any, take: Take, layer: int) -> list[Any]:
    """Show another take of a layer, in place: its strips, its mattes, and the full video's.

    Place, trims, channel, modifiers and keyframes stay. Strips that the user deleted are not
    made again.

    Raises:
        UnreadableTake: The take holds no files of a strip's kind.
    """
    changed = strips_of_layer(scene, take.shot_uid, layer)
    if layer >= 0:
        changed += strips_of_layer(scene, take.shot_uid, -1)
    plans = [(strip, *_plan(scene, strip, take)) for strip in changed]
    with compat.prefetch_off(scene):
        for strip, kind, file_format, paths in plans:
            _relink(strip, paths)
            described = provenance.read_or_none(strip)
            assert described is not None
            _describe(strip, take, kind, described.layer, file_format)
    return changed


def _plan(scene: Any, strip: Any, take: Take) -> tuple[ArtifactKind, ArtifactFormat, list[Path]]:
    described = provenance.read_or_none(strip)
    assert described is not None
    kind, file_format = ArtifactKind(described.role), ArtifactFormat(described.format)
    if not take.frames(kind, described.layer, file_format):
        file_format = ArtifactFormat.PNG
    return kind, file_format, _files(scene, take, kind, described.layer, file_format)


def show_format(scene: Any, shot: str, file_format: ArtifactFormat) -> int:
    """Show a shot's layers from PNG or from the EXR masters; mattes stay PNG.

    Returns:
        How many strips were changed.

    Raises:
        UnreadableTake: A take was fetched without that format.
    """
    plans = []
    for strip, each in _of_shot(scene, shot):
        if each.role != ArtifactKind.MATTE:
            take, kind = take_of(strip), ArtifactKind(each.role)
            paths = _files(scene, take, kind, each.layer, file_format)
            plans.append((strip, take, kind, each.layer, paths))
    with compat.prefetch_off(scene):
        for strip, take, kind, layer, paths in plans:
            _relink(strip, paths)
            _describe(strip, take, kind, layer, file_format)
    return len(plans)


def _relink(strip: Any, paths: Sequence[Path]) -> None:
    """Give a strip other files, keeping its trims; a shorter sequence clamps the right one."""
    frame_start, frame_end = compat.span(strip)
    first, last = compat.content_span(strip)
    elements = strip.elements
    for index, path in enumerate(paths):
        if index < len(elements):
            elements[index].filename = path.name
        else:
            elements.append(path.name)
    while len(elements) > len(paths):
        elements.pop(index=len(elements) - 1)
    # Assigned last: 5.x shows cached frames until the folder is set anew.
    strip.directory = _stored(paths[0].parent)
    if frame_end == last:
        frame_end = first + len(paths)
    frame_end = min(frame_end, first + len(paths))
    compat.set_span(strip, min(frame_start, frame_end - 1), frame_end)


def neighbour_take(strip: Any, step: int) -> Take:
    """Give the take after (1) or before (-1) the one that a strip shows, going round.

    Raises:
        UnreadableTake: The strip shows none, or the shot has only one.
    """
    shown = take_of(strip)
    takes = takes_of_shot(shown.folder.parent)
    numbers = [take.number for take in takes]
    if len(takes) < 2 or shown.number not in numbers:
        raise UnreadableTake("The shot has only this take: regenerate a layer to get another.")
    return takes[(numbers.index(shown.number) + step) % len(takes)]
