# SPDX-License-Identifier: GPL-3.0-or-later
"""Operators for the scene around the shots: its size and rate, and how it shows colours."""

from fractions import Fraction

import bpy
from bpy.props import BoolProperty

from layert2v_client import default_address

from .. import compat
from ..core.board import counted
from ..core.shots import ShotProblem
from ..core.takes import UnreadableTake
from ..core.timing import take_fps
from ..scene import matching, strips
from ..scene.form import form_of
from ..scene.importing import TIMELINE_PROBLEMS
from ..scene.runtime import runtime
from .operator_kinds import Result, SceneOperator, window_manager


class LAYERT2V_OT_set_view_transform(SceneOperator):
    """Show layers as they were generated, with a Standard view and an sRGB sequencer."""

    bl_idname = "layert2v.set_view_transform"
    bl_label = "Use Standard View"
    bl_options = {"REGISTER", "UNDO"}

    def execute(self, context: bpy.types.Context) -> Result:
        """Set both."""
        scene = compat.edited_scene(context)
        try:
            compat.use_standard_view(scene)
        except compat.ColourSpaceMissing as problem:
            self.report({"ERROR"}, str(problem))
            return {"CANCELLED"}
        return {"FINISHED"}


class LAYERT2V_OT_match_scene(SceneOperator):
    """Give the scene the size and frame rate of the selected take or of the next shot.

    Generated strips are fitted and timed to them.
    """

    bl_idname = "layert2v.match_scene"
    bl_label = "Match Scene to Shot"
    bl_options = {"REGISTER", "UNDO"}

    with_range: BoolProperty(
        name="Frame Range",
        description="Also set the first and last frame of the scene to those of the shot",
        default=False,
    )

    def invoke(self, context: bpy.types.Context, event: bpy.types.Event) -> Result:
        """Ask first, because the whole scene changes."""
        scene = compat.edited_scene(context)
        try:
            wanted, _ = _wanted_format(scene)
        except ShotProblem as problem:
            self.report({"ERROR"}, str(problem))
            return {"CANCELLED"}
        now, count = matching.format_of(scene), len(matching.generated_strips(scene))
        return window_manager(context).invoke_confirm(
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

    def execute(self, context: bpy.types.Context) -> Result:
        """Set the size, the rate and, if asked, the range."""
        scene = compat.edited_scene(context)
        try:
            wanted, frames = _wanted_format(scene)
            matching.match(scene, wanted)
        except (ShotProblem, *TIMELINE_PROBLEMS) as problem:
            self.report({"ERROR"}, str(problem))
            return {"CANCELLED"}
        if self.with_range:
            scene.frame_start, scene.frame_end = frames
        return {"FINISHED"}


def _wanted_format(scene: bpy.types.Scene) -> tuple[matching.Format, tuple[int, int]]:
    """Give the format and the frames of the selected strip's take, or of the next shot."""
    strip, rate = compat.active_strip(scene), matching.format_of(scene).rate
    try:
        take = strips.take_of(strip)
    except UnreadableTake:
        return _next_format(scene, rate)
    made, first = take.made, compat.span(strip)[0]
    rate = take_fps(take.fps) if take.fps > 0 else rate
    return matching.Format(made.width, made.height, rate), (first, first + made.num_frames - 1)


def _next_format(scene: bpy.types.Scene, rate: Fraction) -> tuple[matching.Format, tuple[int, int]]:
    shot, model = form_of(scene), runtime.board.model(form_of(scene).model)
    if model is None:
        where = runtime.session.address if runtime.session else default_address()
        raise ShotProblem(f"The shot's size is not known. Select a strip or connect to {where}.")
    width, height = (shot.width, shot.height) if shot.width else model.sizes[0]
    num_frames, first = shot.num_frames or model.num_frames[0], scene.frame_current
    rate = take_fps(model.fps) if model.fps > 0 else rate
    return matching.Format(width, height, rate), (first, first + num_frames - 1)


def _said(wanted: matching.Format) -> str:
    return f"{wanted.width} x {wanted.height} at {float(wanted.rate):g} fps"


CLASSES = (
    LAYERT2V_OT_set_view_transform,
    LAYERT2V_OT_match_scene,
)
