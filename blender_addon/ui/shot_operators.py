# SPDX-License-Identifier: GPL-3.0-or-later
"""Operators that send a shot: Generate and Regenerate Layer."""

import bpy
from bpy.props import StringProperty

from layert2v_words import FULL

from .. import compat
from ..core.shots import ShotProblem, parse_seed
from ..core.takes import UnreadableTake
from ..scene import provenance, requests
from ..scene.runtime import runtime
from . import preferences
from .operator_kinds import Result, SceneOperator, window_manager
from .words import draw_unknown_words, suggest_words


class LAYERT2V_OT_generate(SceneOperator):
    """Generate the shot. Its strips appear at this frame when it is done."""

    bl_idname = "layert2v.generate"
    bl_label = "Generate"
    bl_options = {"UNDO"}  # with REGISTER, Adjust Last Operation would send jobs

    def invoke(self, context: bpy.types.Context, event: bpy.types.Event) -> Result:
        """Ask if the same shot was sent a moment ago. A panel may have moved under the mouse."""
        if not requests.is_repeated(compat.edited_scene(context)):
            return self.execute(context)
        return window_manager(context).invoke_confirm(
            self,
            event,
            title=self.bl_label,
            message="The same shot was sent a moment ago. Send it once more?",
            confirm_text="Generate",
        )

    def execute(self, context: bpy.types.Context) -> Result:
        """Send the shot and return at once."""
        session, scene = preferences.ensure_session(), compat.edited_scene(context)
        try:
            requests.generate(session, scene)
        except ShotProblem as problem:
            self.report({"ERROR"}, str(problem))
            return {"CANCELLED"}
        return {"FINISHED"}


class LAYERT2V_OT_regenerate(SceneOperator):
    """Regenerate the selected strip's layer. Every other layer stays bit-identical."""

    bl_idname = "layert2v.regenerate"
    bl_label = "Regenerate Layer"
    bl_options = {"UNDO"}  # with REGISTER, Adjust Last Operation would send jobs

    prompt: StringProperty(
        name="Prompt",
        description="New prompt of the layer. Leave empty to keep the current one",
        options={"SKIP_SAVE"},
        search=suggest_words,
        search_options={"SUGGESTION"},
    )
    full_prompt: StringProperty(
        name="Whole Picture",
        description=(
            "Describes all layers together. Leave empty to keep the current one, or to combine the "
            "layer prompts if this layer's prompt changes"
        ),
        options={"SKIP_SAVE"},
    )
    seed: StringProperty(
        name="Seed",
        description="Repeats the layer. Leave empty to draw a new one",
        options={"SKIP_SAVE"},
    )

    def invoke(self, context: bpy.types.Context, event: bpy.types.Event) -> Result:
        """Ask for the prompt and offer the current one."""
        strip = compat.active_strip(compat.edited_scene(context))
        described = provenance.read_or_none(strip)
        if described is not None and not self.prompt:
            self.prompt = described.prompt
        return window_manager(context).invoke_props_dialog(
            self, width=480, confirm_text="Regenerate"
        )

    def draw(self, context: bpy.types.Context) -> None:
        """Draw the dialog, with the words that the model does not know."""
        described = provenance.read_or_none(compat.active_strip(compat.edited_scene(context)))
        model = runtime.board.model(described.model) if described else None
        layer_index = described.layer if described else FULL
        for name, index in (("prompt", layer_index), ("full_prompt", FULL)):
            self.layout.prop(self, name)
            draw_unknown_words(self.layout, model, index, getattr(self, name))
        self.layout.prop(self, "seed")

    def execute(self, context: bpy.types.Context) -> Result:
        """Send the shot and return at once."""
        session, scene = preferences.ensure_session(), compat.edited_scene(context)
        strip = compat.active_strip(scene)
        try:
            seed = parse_seed(self.seed)
            requests.regenerate(session, scene, strip, self.prompt, self.full_prompt, seed)
        except (ShotProblem, UnreadableTake) as problem:
            self.report({"ERROR"}, str(problem))
            return {"CANCELLED"}
        return {"FINISHED"}


CLASSES = (
    LAYERT2V_OT_generate,
    LAYERT2V_OT_regenerate,
)
