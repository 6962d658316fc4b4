# SPDX-License-Identifier: GPL-3.0-or-later
"""Puts each ready take on the timeline once, either whole or not at all.

A take is imported by itself only if nothing speaks against it. Otherwise it stays listed with a
button.
"""

import logging
import uuid
from pathlib import Path

import bpy

from .. import compat
from ..core.board import JobView
from ..core.channels import NoFreeChannels
from ..core.records import JobRecord, RecordState
from ..core.shots import layer_name
from ..core.takes import Take, UnreadableTake, load_take
from ..core.unsaved import CopyFailed
from . import media, new_strips, project, relinking, strips
from .runtime import runtime

TIMELINE_PROBLEMS = (UnreadableTake, NoFreeChannels, CopyFailed, compat.ColourSpaceMissing)
"""Problems of a take or a timeline. Each names its remedy."""

_log = logging.getLogger(__name__)


def target_of(record: JobRecord) -> bpy.types.Scene | None:
    """Give the own scene of a take that the artist asks for, or else the edited scene."""
    scene = project.scene_of(record) or compat.sequencer_scene(bpy.context)
    return scene if compat.is_editable(scene) else None


def why_waiting(view: JobView) -> str:
    """Say in a sentence why a ready take is not imported by itself. Empty if it is."""
    record = view.record
    scene = project.scene_of(record)
    view.can_import = True
    if not record.is_wanted:
        return "It was cancelled, but the take was finished first."
    if scene is None:
        view.can_import = False
        file = Path(record.blend_path).name or "a file that was not saved"
        return f"The take is for scene '{record.scene_name}' of {file}. Open that file."
    if not record.is_import_asked and not project.is_asked_here(scene, record):
        return f"It was asked for in {record.blend_path}, of which this file is a copy."
    if not has_target(scene, record):
        name = layer_name(record.layer_index)
        return f"The strips of {name} were deleted. Import Now puts the take at the playhead."
    if not record.is_import_asked and compat.has_redo_steps():
        return "It waits, because importing it would remove the steps that can be redone."
    return ""


def has_target(scene: bpy.types.Scene, record: JobRecord) -> bool:
    """Whether the strips that a new take of a layer replaces still exist."""
    return record.layer_index < 0 or strips.has_layer(scene, record.shot_uid, record.layer_index)


def settle(view: JobView, scene: bpy.types.Scene | None, *, is_asked: bool = False) -> None:
    """Try once to import a ready take. Either way it no longer waits.

    This is the border to faults of Blender, a studio's set-up or a disk. A fault becomes a failed
    row with a button, and never another attempt by itself.
    """
    try:
        if scene is None:
            raise UnreadableTake("No scene can be edited. Pick one for the sequencer.")
        _import(view, scene, is_asked=is_asked)
    except TIMELINE_PROBLEMS as error:
        runtime.settle(view, state=RecordState.FAILED, is_made=True, error=str(error), remedy="")
    except Exception as error:  # noqa: BLE001
        _log.exception("take %s could not be imported", view.record.take_folder)
        message = f"The take could not be put on the timeline: {type(error).__name__}: {error}"
        remedy = "The take is on disk. Correct the cause, then press Try Again."
        runtime.settle(view, state=RecordState.FAILED, is_made=True, error=message, remedy=remedy)
    else:
        runtime.settle(view, state=RecordState.IMPORTED, error="", remedy="")


def is_on_disk(view: JobView) -> bool:
    """Whether a take was fetched whole and is still whole."""
    if not view.record.take_folder:
        return False
    try:
        load_take(take_folder(view))
    except UnreadableTake:
        return False
    return True


def take_folder(view: JobView) -> Path:
    """Give the folder of a fetched take."""
    return Path(view.journal_folder).joinpath(*view.record.take_folder.split("/"))


def _import(view: JobView, scene: bpy.types.Scene, *, is_asked: bool) -> None:
    record = view.record
    take = media.beside(load_take(take_folder(view)))
    if is_asked and not has_target(scene, record):
        place(scene, take, -1, scene.frame_current, uuid.uuid4().hex)
    elif not strips.is_imported(scene, record.job):
        frame_start = record.frame_start
        if project.scene_of(record) is None:
            frame_start = scene.frame_current
        place(scene, take, record.layer_index, frame_start, record.shot_uid)
    else:
        return
    view.notice = _notice(take, record.layer_index)


def _notice(take: Take, layer_index: int) -> str:
    """Say which foregrounds of a take are empty and which words the model did not know.

    Each sentence has a line. The text is empty if there is no such sentence.
    """
    made = range(1, len(take.made.layers)) if layer_index < 0 else (layer_index,)
    empty = [layer_name(layer).capitalize() for layer in made if take.is_empty(layer)]
    lines = [
        f"{layer_name(each.layer_index).capitalize()}: {each.message}."
        for each in take.unknown_words
    ]
    if empty:
        verb = "is" if len(empty) == 1 else "are"
        lines.insert(
            0,
            f"{' and '.join(empty)} {verb} empty in take {take.number}. Select the strip and "
            "regenerate it with a new seed, or reword the prompt.",
        )
    return "\n".join(lines)


def place(
    scene: bpy.types.Scene, take: Take, layer_index: int, frame_start: int, shot: str
) -> None:
    """Put a take on the timeline in one undo step, as a new shot or as a layer in place."""
    compat.push_undo("Before LayerT2V")
    if layer_index < 0:
        new_strips.import_take(scene, take, frame_start, shot)
    else:
        relinking.show_take(scene, take, layer_index, shot)
    compat.push_undo(f"LayerT2V: take {take.number}")
