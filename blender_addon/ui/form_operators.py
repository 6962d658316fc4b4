# SPDX-License-Identifier: GPL-3.0-or-later
"""Operators for the properties of the next shot: its foregrounds, size, length, model and seed."""

import bpy
from bpy.props import IntProperty, StringProperty

from .. import compat
from ..core.shots import draw_seed
from ..scene.runtime import runtime
from .operator_kinds import Result, SceneOperator


class LAYERT2V_OT_foreground_add(SceneOperator):
    """Add a foreground nearest to the camera."""

    bl_idname = "layert2v.foreground_add"
    bl_label = "Add Foreground"
    bl_options = {"REGISTER", "UNDO"}

    prompt: StringProperty(options={"SKIP_SAVE"})

    def execute(self, context: bpy.types.Context) -> Result:
        """Add it."""
        shot = compat.sequencer_scene(context).layert2v
        model = runtime.board.model(shot.model)
        if model is not None and len(shot.foregrounds) >= model.max_foregrounds:
            message = f"The model '{model.id}' makes at most {model.max_foregrounds} foregrounds."
            self.report({"ERROR"}, message)
            return {"CANCELLED"}
        shot.foregrounds.add().prompt = self.prompt
        return {"FINISHED"}


class LAYERT2V_OT_foreground_remove(SceneOperator):
    """Remove this foreground."""

    bl_idname = "layert2v.foreground_remove"
    bl_label = "Remove Foreground"
    bl_options = {"REGISTER", "UNDO"}

    index: IntProperty()

    def execute(self, context: bpy.types.Context) -> Result:
        """Remove it."""
        compat.sequencer_scene(context).layert2v.foregrounds.remove(self.index)
        return {"FINISHED"}


class LAYERT2V_OT_foreground_move(SceneOperator):
    """Move this foreground: 1 nearer to the camera, -1 farther."""

    bl_idname = "layert2v.foreground_move"
    bl_label = "Move Foreground"
    bl_options = {"REGISTER", "UNDO"}

    index: IntProperty()
    step: IntProperty(default=1)

    def execute(self, context: bpy.types.Context) -> Result:
        """Move it."""
        foregrounds = compat.sequencer_scene(context).layert2v.foregrounds
        target = self.index + self.step
        if not 0 <= target < len(foregrounds):
            return {"CANCELLED"}
        foregrounds.move(self.index, target)
        return {"FINISHED"}


class LAYERT2V_OT_set_size(SceneOperator):
    """Choose one of the model's picture sizes."""

    bl_idname = "layert2v.set_size"
    bl_label = "Size"
    bl_options = {"REGISTER", "UNDO"}

    width: IntProperty()
    height: IntProperty()

    def execute(self, context: bpy.types.Context) -> Result:
        """Set it."""
        shot = compat.sequencer_scene(context).layert2v
        shot.width, shot.height = self.width, self.height
        return {"FINISHED"}


class LAYERT2V_OT_set_frames(SceneOperator):
    """Choose one of the model's lengths."""

    bl_idname = "layert2v.set_frames"
    bl_label = "Frames"
    bl_options = {"REGISTER", "UNDO"}

    num_frames: IntProperty()

    def execute(self, context: bpy.types.Context) -> Result:
        """Set it."""
        compat.sequencer_scene(context).layert2v.num_frames = self.num_frames
        return {"FINISHED"}


class LAYERT2V_OT_set_model(SceneOperator):
    """Choose the model; size and length go back to its defaults."""

    bl_idname = "layert2v.set_model"
    bl_label = "Model"
    bl_options = {"REGISTER", "UNDO"}

    model: StringProperty()

    def execute(self, context: bpy.types.Context) -> Result:
        """Set it."""
        shot = compat.sequencer_scene(context).layert2v
        shot.model = self.model
        shot.width = shot.height = shot.num_frames = 0
        return {"FINISHED"}


class LAYERT2V_OT_random_seed(SceneOperator):
    """Draw a new seed."""

    bl_idname = "layert2v.random_seed"
    bl_label = "New Seed"
    bl_options = {"REGISTER", "UNDO"}

    def execute(self, context: bpy.types.Context) -> Result:
        """Draw it."""
        compat.sequencer_scene(context).layert2v.seed = str(draw_seed())
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
