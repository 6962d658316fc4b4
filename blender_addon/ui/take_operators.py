# SPDX-License-Identifier: GPL-3.0-or-later
"""Operators for takes: switch them in place, import them, show PNG or EXR."""

from pathlib import Path

import bpy
from bpy.props import EnumProperty, IntProperty, StringProperty

from layert2v_client import ArtifactFormat

from .. import compat
from ..core.takes import Take, UnreadableTake, load_take
from ..scene import copies, new_strips, provenance, relinking, strips
from ..scene.importing import TIMELINE_PROBLEMS
from ..scene.provenance import Provenance
from .operator_kinds import Result, SceneOperator, window_manager


class LAYERT2V_OT_step_take(SceneOperator):
    """Show the next or the previous take of the selected layer in place."""

    bl_idname = "layert2v.step_take"
    bl_label = "Switch Take"
    bl_options = {"REGISTER", "UNDO"}

    step: IntProperty(default=1, options={"HIDDEN"})

    def execute(self, context: bpy.types.Context) -> Result:
        """Show it."""
        scene = compat.edited_scene(context)
        strip = compat.active_strip(scene)
        copies.separate_copies(scene)
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


def _show_first(scene: bpy.types.Scene, takes: list[Take], described: Provenance) -> Take:
    """Show the first take that has all its frames."""
    for take in takes[:-1]:
        try:
            relinking.show_take(scene, take, described.layer, described.shot)
        except UnreadableTake:
            continue
        return take
    relinking.show_take(scene, takes[-1], described.layer, described.shot)
    return takes[-1]


class LAYERT2V_OT_import_take(SceneOperator):
    """Put a take from disk on the timeline at the playhead."""

    bl_idname = "layert2v.import_take"
    bl_label = "Import Take"
    bl_options = {"REGISTER", "UNDO"}

    directory: StringProperty(
        name="Folder", description="Names the folder of the take", subtype="DIR_PATH"
    )

    def invoke(self, context: bpy.types.Context, event: bpy.types.Event) -> Result:
        """Ask for the take's folder."""
        window_manager(context).fileselect_add(self)
        return {"RUNNING_MODAL"}

    def execute(self, context: bpy.types.Context) -> Result:
        """Import it."""
        scene = compat.edited_scene(context)
        try:
            take = load_take(Path(bpy.path.abspath(self.directory)))
            new_strips.import_take(scene, take, scene.frame_current)
        except TIMELINE_PROBLEMS as problem:
            self.report({"ERROR"}, str(problem))
            return {"CANCELLED"}
        return {"FINISHED"}


class LAYERT2V_OT_show_format(SceneOperator):
    """Show the selected shot from PNG files, which play faster, or from the EXR masters."""

    bl_idname = "layert2v.show_format"
    bl_label = "Switch Image Files"
    bl_options = {"REGISTER", "UNDO"}

    format: EnumProperty(
        name="Image Files",
        description="Chooses the files that the strips of the shot show",
        items=[
            ("png", "PNG", "Show 8-bit files, which play two to three times faster"),
            ("exr", "EXR", "Show half-float files for grading and the final render"),
        ],
    )

    def execute(self, context: bpy.types.Context) -> Result:
        """Relink the shot's strips."""
        scene = compat.edited_scene(context)
        copies.separate_copies(scene)
        described = provenance.read_or_none(compat.active_strip(scene))
        if described is None:
            self.report({"ERROR"}, "No generated strip is selected. Select one.")
            return {"CANCELLED"}
        try:
            relinking.show_format(scene, described.shot, ArtifactFormat(self.format))
        except TIMELINE_PROBLEMS as problem:
            self.report({"ERROR"}, str(problem))
            return {"CANCELLED"}
        return {"FINISHED"}


CLASSES = (LAYERT2V_OT_step_take, LAYERT2V_OT_import_take, LAYERT2V_OT_show_format)
