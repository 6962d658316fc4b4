# SPDX-License-Identifier: GPL-3.0-or-later
"""Operators for the next shot and the scene around it."""

from collections.abc import Callable
from fractions import Fraction
from typing import Any

import bpy
from bpy.props import BoolProperty, IntProperty, StringProperty

from layert2v_client import default_address

from .. import compat
from ..core.board import counted
from ..core.shots import ShotProblem, draw_seed
from ..core.takes import UnreadableTake
from ..core.timing import take_fps
from ..scene import matching, strips
from ..scene.importing import TIMELINE_PROBLEMS
from ..scene.runtime import runtime


class SceneOperator:
    """An operator that needs a sequencer's scene which may be changed."""

    poll_message_set: Callable[[str], None]
    """Every operator has it from Blender."""

    @classmethod
    def poll(cls, context: bpy.types.Context) -> bool:
        """Only where a scene's sequencer is edited that is not linked from another file."""
        scene = compat.sequencer_scene(context)
        if scene is not None and not compat.is_editable(scene):
            cls.poll_message_set("The scene is linked from another file: open that file")
        return compat.is_editable(scene)


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
        compat.sequencer_scene(context).layert2v.seed = str(draw_seed())
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
    """Give the scene the size and rate of the selected take, or of the next shot.

    Generated strips are fitted and timed to it.
    """

    bl_idname = "layert2v.match_scene"
    bl_label = "Match Scene to Shot"
    bl_options = {"REGISTER", "UNDO"}  # noqa: RUF012

    with_range: BoolProperty(  # type: ignore[valid-type]
        name="Frame Range", description="Also play just the shot", default=False
    )

    def invoke(self, context: bpy.types.Context, event: bpy.types.Event) -> set[str]:
        """Ask first: it changes the whole scene."""
        scene = compat.sequencer_scene(context)
        try:
            wanted, _ = _wanted_format(scene)
        except ShotProblem as problem:
            self.report({"ERROR"}, str(problem))
            return {"CANCELLED"}
        now, count = matching.format_of(scene), len(matching.generated_strips(scene))
        return context.window_manager.invoke_confirm(
            self,
            event,
            title=self.bl_label,
            message=(
                f"Change the scene from {_said(now)} to {_said(wanted)}? "
                f"{counted(count, 'generated strip')} fitted and timed to it. Other strips "
                "stay as they are."
            ),
            confirm_text="Match Scene",
        )

    def execute(self, context: bpy.types.Context) -> set[str]:
        """Set size, rate and perhaps range."""
        scene = compat.sequencer_scene(context)
        try:
            wanted, frames = _wanted_format(scene)
            matching.match(scene, wanted)
        except (ShotProblem, *TIMELINE_PROBLEMS) as problem:
            self.report({"ERROR"}, str(problem))
            return {"CANCELLED"}
        if self.with_range:
            scene.frame_start, scene.frame_end = frames
        return {"FINISHED"}


def _wanted_format(scene: Any) -> tuple[matching.Format, tuple[int, int]]:
    """Give the format and the frames of the selected strip's take, or of the next shot."""
    strip, rate = compat.active_strip(scene), matching.format_of(scene).rate
    try:
        take = strips.take_of(strip)
    except UnreadableTake:
        return _next_format(scene, rate)
    made, first = take.made, compat.span(strip)[0]
    rate = take_fps(take.fps) if take.fps > 0 else rate
    return matching.Format(made.width, made.height, rate), (first, first + made.num_frames - 1)


def _next_format(scene: Any, rate: Fraction) -> tuple[matching.Format, tuple[int, int]]:
    shot, model = scene.layert2v, runtime.board.model(scene.layert2v.model)
    if model is None:
        where = runtime.session.address if runtime.session else default_address()
        raise ShotProblem(f"The shot's size is not known: select a strip or connect to {where}.")
    width, height = (shot.width, shot.height) if shot.width else model.sizes[0]
    num_frames, first = shot.num_frames or model.num_frames[0], scene.frame_current
    rate = take_fps(model.fps) if model.fps > 0 else rate
    return matching.Format(width, height, rate), (first, first + num_frames - 1)


def _said(wanted: matching.Format) -> str:
    return f"{wanted.width} x {wanted.height} at {float(wanted.rate):g} fps"


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
