# SPDX-License-Identifier: GPL-3.0-or-later
"""Operators for takes: the next and the previous one in place, import, PNG or EXR."""

from pathlib import Path
from typing import Any

import bpy
from bpy.props import EnumProperty, IntProperty, StringProperty

from layert2v_client import ArtifactFormat

from .. import compat
from ..core.takes import Take, UnreadableTake, load_take
from ..scene import provenance, strips
from ..scene.importing import TIMELINE_PROBLEMS
from ..scene.provenance import Provenance
from .shot_operators import SceneOperator


class LAYERT2V_OT_step_take(SceneOperator, bpy.types.Operator):
    """Show the next or the previous take of the selected layer, in place."""

    bl_idname = "layert2v.step_take"
    bl_label = "Step Take"
    bl_options = {"REGISTER", "UNDO"}  # noqa: RUF012

    step: IntProperty(default=1, options={"HIDDEN"})  # type: ignore[valid-type]

    def execute(self, context: bpy.types.Context) -> set[str]:
        """Show it."""
        scene = compat.sequencer_scene(context)
        strip = compat.active_strip(scene)
        strips.separate_copies(scene)
        described = provenance.read_or_none(strip)
        try:
            takes = strips.neighbour_takes(strip, self.step)
            assert described is not None
            take = _show_first(scene, takes, described)
        except TIMELINE_PROBLEMS as problem:
            self.report({"ERROR"}, str(problem))
            return {"CANCELLED"}
        self.report({"INFO"}, f"Take {take.number}")
        return {"FINISHED"}


def _show_first(scene: Any, takes: list[Take], described: Provenance) -> Take:
    """Show the first take that has all its frames."""
    for take in takes[:-1]:
        try:
            strips.show_take(scene, take, described.layer, described.shot)
        except UnreadableTake:
            continue
        return take
    strips.show_take(scene, takes[-1], described.layer, described.shot)
    return takes[-1]


class LAYERT2V_OT_import_take(SceneOperator, bpy.types.Operator):
    """Put a take that is on disk on the timeline, at the playhead."""

    bl_idname = "layert2v.import_take"
    bl_label = "Import Take"
    bl_options = {"REGISTER", "UNDO"}  # noqa: RUF012

    directory: StringProperty(subtype="DIR_PATH")  # type: ignore[valid-type]

    def invoke(self, context: bpy.types.Context, event: bpy.types.Event) -> set[str]:
        """Ask for the take's folder."""
        context.window_manager.fileselect_add(self)
        return {"RUNNING_MODAL"}

    def execute(self, context: bpy.types.Context) -> set[str]:
        """Import it."""
        scene = compat.sequencer_scene(context)
        try:
            take = load_take(Path(bpy.path.abspath(self.directory)))
            strips.import_take(scene, take, scene.frame_current)
        except TIMELINE_PROBLEMS as problem:
            self.report({"ERROR"}, str(problem))
            return {"CANCELLED"}
        return {"FINISHED"}


class LAYERT2V_OT_show_format(SceneOperator, bpy.types.Operator):
    """Show the selected shot from PNG, which plays faster, or from the EXR masters."""

    bl_idname = "layert2v.show_format"
    bl_label = "Show Format"
    bl_options = {"REGISTER", "UNDO"}  # noqa: RUF012

    format: EnumProperty(  # type: ignore[valid-type]
        items=[
            ("png", "PNG", "8 bit, straight alpha: plays two to three times faster"),
            ("exr", "EXR", "Half float, premultiplied: for grading and the final render"),
        ]
    )

    def execute(self, context: bpy.types.Context) -> set[str]:
        """Relink the shot's strips."""
        scene = compat.sequencer_scene(context)
        strips.separate_copies(scene)
        described = provenance.read_or_none(compat.active_strip(scene))
        if described is None:
            self.report({"ERROR"}, "Select a strip that was generated.")
            return {"CANCELLED"}
        try:
            strips.show_format(scene, described.shot, ArtifactFormat(self.format))
        except TIMELINE_PROBLEMS as problem:
            self.report({"ERROR"}, str(problem))
            return {"CANCELLED"}
        return {"FINISHED"}


CLASSES = (LAYERT2V_OT_step_take, LAYERT2V_OT_import_take, LAYERT2V_OT_show_format)
