# SPDX-License-Identifier: GPL-3.0-or-later
"""Takes as strips, through the data API only: its operators crash 5.0 and 5.2 without a window.

Channels of a take, from below: background, foregrounds back to front, then muted: the mattes and
the full video. Blender's own render then equals the flattened stack.
"""

import uuid
from collections.abc import Sequence
from dataclasses import dataclass, replace
from fractions import Fraction
from pathlib import Path
from typing import Any

import bpy

from layert2v_client import ArtifactFormat, ArtifactKind

from .. import compat
from ..core.channels import Span, first_free_channel
from ..core.takes import Take, UnreadableTake, check_files, load_take, takes_of_shot
from ..core.timing import frames_shown, scene_fps, take_fps
from . import provenance
from .provenance import Provenance
from .runtime import runtime


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


def import_take(scene: Any, take: Take, frame_start: int, shot: str = "") -> list[Any]:
    """Make the strips of a take at a frame, on free channels above what is there: all or none.

    They belong to `shot`; empty: to the take's, or to a new one where the take's is there already.

    Raises:
        NoFreeChannels: They do not fit.
        UnreadableTake: The take holds no PNG of a layer.
        ColourSpaceMissing: The OCIO configuration has no space for them.
    """
    shot = shot or (uuid.uuid4().hex if of_shot(scene, take.shot_uid) else take.shot_uid)
    look = Look(shot, _scene_rate(scene), compat.colour_space(is_linear=False))
    rows = rows_of(take)
    files = [_files(take, row.kind, row.layer, ArtifactFormat.PNG, look.rate) for row in rows]
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
                _describe(made[-1], take, row.kind, row.layer, ArtifactFormat.PNG, look)
        except BaseException:
            for strip in made:
                compat.strips(editor).remove(strip)
            raise
    return made


@dataclass(frozen=True)
class Look:
    """What the strips of a shot have in common."""

    shot: str
    """Id of the shot."""
    rate: Fraction
    """Frames per second of the scene that they are laid out for."""
    space: str
    """Colour space of their pictures, as the configuration in use names it."""


def _scene_rate(scene: Any) -> Fraction:
    return scene_fps(scene.render.fps, scene.render.fps_base)


def rate_of(scene: Any, described: Provenance) -> Fraction:
    """Give the rate that a strip was laid out for; strips of earlier versions do not say."""
    return Fraction(described.rate) if described.rate else _scene_rate(scene)


def _files(
    take: Take, kind: ArtifactKind, layer: int, file_format: ArtifactFormat, rate: Fraction
) -> list[Path]:
    """List the file shown at each scene frame, for a scene of a frame rate."""
    frames = take.frames(kind, layer, file_format)
    if not frames:
        raise UnreadableTake(
            f"The take in {take.folder} holds no {file_format} of {kind} {max(layer, 0)}: "
            "regenerate the layer."
        )
    check_files(take, frames)
    return [frames[index] for index in frames_shown(len(frames), take_fps(take.fps), rate)]


def _new_strip(editor: Any, row: Row, paths: Sequence[Path], channel: int, frame_start: int) -> Any:
    strip = compat.strips(editor).new_image(
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
    return strip


def _describe(
    strip: Any,
    take: Take,
    kind: ArtifactKind,
    layer: int,
    file_format: ArtifactFormat,
    look: Look,
) -> None:
    """Set how the media are read, and say where they come from."""
    strip.alpha_mode = "PREMUL" if file_format is ArtifactFormat.EXR else "STRAIGHT"
    strip.colorspace_settings.name = look.space
    path, rate = _stored(take.folder), str(look.rate)
    described = provenance.of_take(take, kind, layer, path, str(file_format), look.shot, rate)
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
    """Read the take that a strip shows, from where its media lie now; its frames are not checked.

    Raises:
        UnreadableTake: The strip shows none, or its description is gone.
    """
    if provenance.read_or_none(strip) is None or not compat.is_image(strip):
        raise UnreadableTake("The selected strip shows no take: select one that was generated.")
    return load_take(compat.media_folder(strip).parent.parent, is_checked=False)


def has_layer(scene: Any, shot: str, layer: int) -> bool:
    """Whether a layer of a shot, not just its matte, is on the timeline."""
    return any(
        each.layer == layer and each.role != ArtifactKind.MATTE for _, each in of_shot(scene, shot)
    )


def of_shot(scene: Any, shot: str) -> list[tuple[Any, Provenance]]:
    """List the strips of a shot with what they show."""
    pairs = [(strip, provenance.read_or_none(strip)) for strip in compat.all_strips(scene)]
    return [(strip, each) for strip, each in pairs if each is not None and each.shot == shot]


def shown(scene: Any, shot: str) -> dict[int, Provenance]:
    """Give what is shown of every layer of a shot that has strips; -1 is the full video."""
    return {each.layer: each for _, each in of_shot(scene, shot) if each.role != ArtifactKind.MATTE}


def show_take(scene: Any, take: Take, layer: int, shot: str = "") -> list[Any]:
    """Show another take of a layer, in place: its strips, its mattes, and the full video's.

    Place, trims, channel, modifiers and keyframes stay, and the rate that the shot was laid out
    for, so that its layers stay together when the scene's rate has changed. Strips that the user
    deleted are not made again. All strips change or none. `shot` is the take's where it is empty.

    Raises:
        UnreadableTake: The take holds no files of a strip's kind.
        ColourSpaceMissing: The OCIO configuration has no space for them.
    """
    shot = shot or take.shot_uid
    layers = {layer, -1} if layer >= 0 else {layer}
    changed = [strip for strip, each in of_shot(scene, shot) if each.layer in layers]
    apply(scene, [plan(scene, strip, take) for strip in changed])
    return changed


@dataclass(frozen=True)
class Plan:
    """What one strip shall show."""

    strip: Any
    """The strip."""
    take: Take
    """The take to show."""
    kind: ArtifactKind
    """What of it."""
    layer: int
    """Which layer of it."""
    file_format: ArtifactFormat
    """From which files."""
    paths: Sequence[Path]
    """A file for each scene frame."""
    look: Look
    """How."""


def plan(
    scene: Any,
    strip: Any,
    take: Take,
    *,
    file_format: ArtifactFormat | None = None,
    rate: Fraction | None = None,
) -> Plan:
    """Plan a strip's new media; format and rate are as before where they are None.

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
    paths = _files(take, kind, each.layer, chosen, rate)
    return Plan(strip, take, kind, each.layer, chosen, paths, Look(each.shot, rate, space))


def apply(scene: Any, plans: Sequence[Plan]) -> None:
    """Change every strip as planned, or, where one cannot be changed, put all back and raise."""
    before = [_state_of(each.strip) for each in plans]
    with compat.prefetch_off(scene):
        try:
            for plan in plans:
                _relink(plan.strip, plan.paths)
                _describe(plan.strip, plan.take, plan.kind, plan.layer, plan.file_format, plan.look)
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


def _state_of(strip: Any) -> _State:
    return _State(
        directory=strip.directory,
        names=tuple(element.filename for element in strip.elements),
        span=compat.span(strip),
        alpha_mode=strip.alpha_mode,
        space=strip.colorspace_settings.name,
        stored=strip[provenance.KEY].to_dict(),
    )


def _put_back(strip: Any, state: _State) -> None:
    _set_media(strip, state.directory, state.names)
    compat.set_span(strip, *state.span)
    strip.alpha_mode = state.alpha_mode
    if state.space:
        strip.colorspace_settings.name = state.space
    strip[provenance.KEY] = state.stored


def show_format(scene: Any, shot: str, file_format: ArtifactFormat) -> int:
    """Show a shot's layers from PNG or from the EXR masters; mattes stay PNG.

    Returns:
        How many strips were changed.

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


def _relink(strip: Any, paths: Sequence[Path]) -> None:
    """Give a strip other files, keeping its trims; a shorter sequence clamps the right one."""
    frame_start, frame_end = compat.span(strip)
    first, last = compat.content_span(strip)
    _set_media(strip, _stored(paths[0].parent), [path.name for path in paths])
    if frame_end == last:
        frame_end = first + len(paths)
    frame_end = min(frame_end, first + len(paths))
    compat.set_span(strip, min(frame_start, frame_end - 1), frame_end)


def _set_media(strip: Any, directory: str, names: Sequence[str]) -> None:
    elements = strip.elements
    for index, name in enumerate(names):
        if index < len(elements):
            elements[index].filename = name
        else:
            elements.append(name)
    while len(elements) > len(names):
        elements.pop(index=len(elements) - 1)
    # Assigned last: 5.x shows cached frames until the folder is set anew.
    strip.directory = directory


def neighbour_takes(strip: Any, step: int) -> list[Take]:
    """List the other takes from the one after (1) or before (-1) the one shown, going round.

    Only descriptions of takes are read, not their frames: this runs on the main thread.

    Raises:
        UnreadableTake: The strip shows none, or the shot has only one.
    """
    shown = take_of(strip)
    takes = takes_of_shot(shown.folder.parent, is_checked=False)
    folders = [take.folder.name for take in takes]
    if len(takes) < 2 or shown.folder.name not in folders:
        raise UnreadableTake("The shot has only this take: regenerate a layer to get another.")
    place = folders.index(shown.folder.name)
    return [takes[(place + step * away) % len(takes)] for away in range(1, len(takes))]


def separate_copies(scene: Any) -> None:
    """Give copies of a shot's strips a shot id of their own, so that each has its own takes.

    Strips that show the same frames of the same layer are copies; the halves of a split are not.
    The strips that were there at the last look keep the id.
    """
    key = compat.session_uid(scene)
    known = runtime.strip_names.get(key, set())
    shots: dict[str, list[tuple[Any, Provenance]]] = {}
    names = set()
    for strip in compat.all_strips(scene):
        names.add(strip.name)
        each = provenance.read_or_none(strip)
        if each is not None:
            shots.setdefault(each.shot, []).append((strip, each))
    for shot, members in shots.items():
        ordered = sorted(members, key=lambda pair: (pair[0].name not in known, pair[0].name))
        copies: dict[int, list[tuple[Any, Provenance]]] = {}
        for (strip, each), number in zip(ordered, _copy_numbers(ordered), strict=True):
            copies.setdefault(number, []).append((strip, each))
        for number, copy in copies.items():
            if number:
                # Named for its first strip, so that it gets the same id again after an undo.
                uid = uuid.uuid5(uuid.NAMESPACE_OID, f"{shot} {copy[0][0].name}").hex
                for strip, each in copy:
                    provenance.write(strip, replace(each, shot=uid))
    runtime.strip_names[key] = names


def _copy_numbers(members: Sequence[tuple[Any, Provenance]]) -> list[int]:
    """Say of which copy each strip is: the first in which no strip of its layer is like it.

    Two strips are alike where they share more than half of the frames of the shorter one: halves
    of a split may overlap for a dissolve.
    """
    taken: dict[tuple[int, int, str], list[tuple[int, int]]] = {}
    numbers = []
    for strip, each in members:
        start = compat.content_span(strip)[0] if compat.is_image(strip) else 0
        first, last = (frame - start for frame in compat.span(strip))
        number = 0
        while any(
            2 * (min(last, end) - max(first, begin)) > min(last - first, end - begin)
            for begin, end in taken.get((number, each.layer, each.role), ())
        ):
            number += 1
        taken.setdefault((number, each.layer, each.role), []).append((first, last))
        numbers.append(number)
    return numbers
