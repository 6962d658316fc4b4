# SPDX-License-Identifier: GPL-3.0-or-later
"""Operators for the next shot and the scene around it."""

import random

import bpy
from bpy.props import BoolProperty, IntProperty, StringProperty

from layert2v_client import default_address

from .. import compat
from ..core.shots import NUM_RANDOM_SEEDS
from ..core.takes import UnreadableTake
from ..core.timing import split_fps, take_fps
from ..scene import strips
from ..scene.runtime import runtime


class SceneOperator:
    """An operator that needs a sequencer's scene."""

    @classmethod
    def poll(cls, context: bpy.types.Context) -> bool:
        """Only where a scene's sequencer is edited."""
        return compat.sequencer_scene(context) is not None


class LAYERT2V_OT_foreground_add(SceneOperator, bpy.types.Operator):
    """Add a foreground nearest to the camera."""

    bl_idname = "layert2v.foreground_add"
    bl_label = "Add Foreground"
    bl_options = {"REGISTER", "UNDO"}  # noqa: RUF012

    prompt: StringProperty(options={"SKIP_SAVE"})  # type: ignore[valid-type]

    def execute(self, context: bpy.types.Context) -> set[str]:
        """Add it."""
        shot = compat.sequencer_scene(context).layert2v
        model = runtime.board.model(shot.model)
        if model is not None and len(shot.foregrounds) >= model.max_foregrounds:
            message = f"The model '{model.id}' makes at most {model.max_foregrounds} foregrounds."
            self.report({"ERROR"}, message)
            return {"CANCELLED"}
        shot.foregrounds.add().prompt = self.prompt
        return {"FINISHED"}


class LAYERT2V_OT_foreground_remove(SceneOperator, bpy.types.Operator):
    """Remove this foreground."""

    bl_idname = "layert2v.foreground_remove"
    bl_label = "Remove Foreground"
    bl_options = {"REGISTER", "UNDO"}  # noqa: RUF012

    index: IntProperty()  # type: ignore[valid-type]

    def execute(self, context: bpy.types.Context) -> set[str]:
        """Remove it."""
        compat.sequencer_scene(context).layert2v.foregrounds.remove(self.index)
        return {"FINISHED"}


class LAYERT2V_OT_foreground_move(SceneOperator, bpy.types.Operator):
    """Move this foreground: 1 nearer to the camera, -1 farther."""

    bl_idname = "layert2v.foreground_move"
    bl_label = "Move Foreground"
    bl_options = {"REGISTER", "UNDO"}  # noqa: RUF012

    index: IntProperty()  # type: ignore[valid-type]
    step: IntProperty(default=1)  # type: ignore[valid-type]

    def execute(self, context: bpy.types.Context) -> set[str]:
        """Move it."""
        foregrounds = compat.sequencer_scene(context).layert2v.foregrounds
        target = self.index + self.step
        if not 0 <= target < len(foregrounds):
            return {"CANCELLED"}
        foregrounds.move(self.index, target)
        return {"FINISHED"}


class LAYERT2V_OT_set_size(SceneOperator, bpy.types.Operator):
    """Choose one of the model's picture sizes."""

    bl_idname = "layert2v.set_size"
    bl_label = "Size"
    bl_options = {"REGISTER", "UNDO"}  # noqa: RUF012

    width: IntProperty()  # type: ignore[valid-type]
    height: IntProperty()  # type: ignore[valid-type]

    def execute(self, context: bpy.types.Context) -> set[str]:
        """Set it."""
        shot = compat.sequencer_scene(context).layert2v
        shot.width, shot.height = self.width, self.height
        return {"FINISHED"}


class LAYERT2V_OT_set_frames(SceneOperator, bpy.types.Operator):
    """Choose one of the model's lengths."""

    bl_idname = "layert2v.set_frames"
    bl_label = "Frames"
    bl_options = {"REGISTER", "UNDO"}  # noqa: RUF012

    num_frames: IntProperty()  # type: ignore[valid-type]

    def execute(self, context: bpy.types.Context) -> set[str]:
        """Set it."""
        compat.sequencer_scene(context).layert2v.num_frames = self.num_frames
        return {"FINISHED"}


class LAYERT2V_OT_set_model(SceneOperator, bpy.types.Operator):
    """Choose the model; size and length go back to its defaults."""

    bl_idname = "layert2v.set_model"
    bl_label = "Model"
    bl_options = {"REGISTER", "UNDO"}  # noqa: RUF012

    model: StringProperty()  # type: ignore[valid-type]

    def execute(self, context: bpy.types.Context) -> set[str]:
        """Set it."""
        shot = compat.sequencer_scene(context).layert2v
        shot.model = self.model
        shot.width = shot.height = shot.num_frames = 0
        return {"FINISHED"}


class LAYERT2V_OT_random_seed(SceneOperator, bpy.types.Operator):
    """Draw a new seed."""

    bl_idname = "layert2v.random_seed"
    bl_label = "New Seed"
    bl_options = {"REGISTER", "UNDO"}  # noqa: RUF012

    def execute(self, context: bpy.types.Context) -> set[str]:
        """Draw it."""
        seed = random.randrange(NUM_RANDOM_SEEDS)
        compat.sequencer_scene(context).layert2v.seed = seed
        return {"FINISHED"}


class LAYERT2V_OT_set_view_transform(SceneOperator, bpy.types.Operator):
    """Show pictures as they are: view transform Standard, sequencer in sRGB."""

    bl_idname = "layert2v.set_view_transform"
    bl_label = "Use Standard View"
    bl_options = {"REGISTER", "UNDO"}  # noqa: RUF012

    def execute(self, context: bpy.types.Context) -> set[str]:
        """Set both."""
        scene = compat.sequencer_scene(context)
        try:
            compat.use_standard_view(scene)
        except compat.ColourSpaceMissing as problem:
            self.report({"ERROR"}, str(problem))
            return {"CANCELLED"}
        return {"FINISHED"}


class LAYERT2V_OT_match_scene(SceneOperator, bpy.types.Operator):
    """Give the scene the size and frame rate of the selected strip's take, or of the next shot."""

    bl_idname = "layert2v.match_scene"
    bl_label = "Match Scene to Shot"
    bl_options = {"REGISTER", "UNDO"}  # noqa: RUF012

    with_range: BoolProperty(  # type: ignore[valid-type]
        name="Frame Range", description="Also play just the shot", default=False
    )

    def execute(self, context: bpy.types.Context) -> set[str]:
        """Set size, rate and perhaps range."""
        scene = compat.sequencer_scene(context)
        shot, model = scene.layert2v, runtime.board.model(scene.layert2v.model)
        strip = compat.active_strip(scene)
        frame_start = scene.frame_current
        try:
            take = strips.take_of(strip)
            made, fps = take.made, take.fps
            width, height, num_frames = made.width, made.height, made.num_frames
            frame_start = compat.span(strip)[0]
        except UnreadableTake:
            if model is None:
                where = runtime.session.address if runtime.session else default_address()
                self.report(
                    {"ERROR"},
                    f"The shot's size is not known: select a strip or connect to {where}.",
                )
                return {"CANCELLED"}
            width, height = (shot.width, shot.height) if shot.width else model.sizes[0]
            num_frames, fps = shot.num_frames or model.num_frames[0], model.fps
        render = scene.render
        render.resolution_x, render.resolution_y = width, height
        render.resolution_percentage = 100
        if fps > 0:
            render.fps, render.fps_base = split_fps(take_fps(fps))
        if self.with_range:
            scene.frame_start, scene.frame_end = frame_start, frame_start + num_frames - 1
        return {"FINISHED"}


CLASSES = (
    LAYERT2V_OT_foreground_add,
    LAYERT2V_OT_foreground_remove,
    LAYERT2V_OT_foreground_move,
    LAYERT2V_OT_set_size,
    LAYERT2V_OT_set_frames,
    LAYERT2V_OT_set_model,
    LAYERT2V_OT_random_seed,
    LAYERT2V_OT_set_view_transform,
    LAYERT2V_OT_match_scene,
)
