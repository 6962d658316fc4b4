# SPDX-License-Identifier: GPL-3.0-or-later
"""Operators for the properties of the next shot: its foregrounds, size, length, model and seed."""

import bpy
from bpy.props import IntProperty, StringProperty

from .. import compat
from ..core.shots import draw_seed
from ..scene.form import form_of
from ..scene.runtime import runtime
from .operator_kinds import Result, SceneOperator


class LAYERT2V_OT_foreground_add(SceneOperator):
    """Add a foreground nearest to the camera."""

    bl_idname = "layert2v.foreground_add"
    bl_label = "Add Foreground"
    bl_options = {"REGISTER", "UNDO"}

    prompt: StringProperty(
        name="Prompt",
        description="Describes what the new foreground shows",
        options={"SKIP_SAVE"},
    )

    def execute(self, context: bpy.types.Context) -> Result:
        """Add it."""
        shot = form_of(compat.edited_scene(context))
        model = runtime.board.model(shot.model)
        if model is not None and len(shot.foregrounds) >= model.max_foregrounds:
            message = (
                f"The model '{model.id}' generates at most {model.max_foregrounds} foregrounds."
            )
            self.report({"ERROR"}, message)
            return {"CANCELLED"}
        shot.foregrounds.add().prompt = self.prompt
        return {"FINISHED"}


class LAYERT2V_OT_foreground_remove(SceneOperator):
    """Remove this foreground."""

    bl_idname = "layert2v.foreground_remove"
    bl_label = "Remove Foreground"
    bl_options = {"REGISTER", "UNDO"}

    index: IntProperty(options={"HIDDEN"})

    def execute(self, context: bpy.types.Context) -> Result:
        """Remove it."""
        form_of(compat.edited_scene(context)).foregrounds.remove(self.index)
        return {"FINISHED"}


class LAYERT2V_OT_foreground_move(SceneOperator):
    """Move this foreground nearer to the camera or farther away."""

    bl_idname = "layert2v.foreground_move"
    bl_label = "Move Foreground"
    bl_options = {"REGISTER", "UNDO"}

    index: IntProperty(options={"HIDDEN"})
    step: IntProperty(default=1, options={"HIDDEN"})

    def execute(self, context: bpy.types.Context) -> Result:
        """Move it."""
        foregrounds = form_of(compat.edited_scene(context)).foregrounds
        target = self.index + self.step
        if not 0 <= target < len(foregrounds):
            return {"CANCELLED"}
        foregrounds.move(self.index, target)
        return {"FINISHED"}


class LAYERT2V_OT_set_size(SceneOperator):
    """Choose one of the model's picture sizes."""

    bl_idname = "layert2v.set_size"
    bl_label = "Set Size"
    bl_options = {"REGISTER", "UNDO"}

    width: IntProperty(options={"HIDDEN"})
    height: IntProperty(options={"HIDDEN"})

    def execute(self, context: bpy.types.Context) -> Result:
        """Set it."""
        shot = form_of(compat.edited_scene(context))
        shot.width, shot.height = self.width, self.height
        return {"FINISHED"}


class LAYERT2V_OT_set_frames(SceneOperator):
    """Choose one of the model's lengths."""

    bl_idname = "layert2v.set_frames"
    bl_label = "Set Length"
    bl_options = {"REGISTER", "UNDO"}

    num_frames: IntProperty(options={"HIDDEN"})

    def execute(self, context: bpy.types.Context) -> Result:
        """Set it."""
        form_of(compat.edited_scene(context)).num_frames = self.num_frames
        return {"FINISHED"}


class LAYERT2V_OT_set_model(SceneOperator):
    """Choose the model. Size and length go back to its defaults."""

    bl_idname = "layert2v.set_model"
    bl_label = "Set Model"
    bl_options = {"REGISTER", "UNDO"}

    model: StringProperty(options={"HIDDEN"})

    def execute(self, context: bpy.types.Context) -> Result:
        """Set it."""
        shot = form_of(compat.edited_scene(context))
        shot.model = self.model
        shot.width = shot.height = shot.num_frames = 0
        return {"FINISHED"}


class LAYERT2V_OT_random_seed(SceneOperator):
    """Draw a new seed."""

    bl_idname = "layert2v.random_seed"
    bl_label = "Draw New Seed"
    bl_options = {"REGISTER", "UNDO"}

    def execute(self, context: bpy.types.Context) -> Result:
        """Draw it."""
        form_of(compat.edited_scene(context)).seed = str(draw_seed())
        return {"FINISHED"}


CLASSES = (
    LAYERT2V_OT_foreground_add,
    LAYERT2V_OT_foreground_remove,
    LAYERT2V_OT_foreground_move,
    LAYERT2V_OT_set_size,
    LAYERT2V_OT_set_frames,
    LAYERT2V_OT_set_model,
    LAYERT2V_OT_random_seed,
)
