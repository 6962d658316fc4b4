# SPDX-License-Identifier: GPL-3.0-or-later
"""The panel of the next shot, with the menus of what its model offers."""

from typing import Literal, TypeAlias

import bpy

from layert2v_client import Model
from layert2v_words import FULL

from .. import compat
from ..core.shots import seed_problem
from ..scene.form import Form, form_of
from ..scene.runtime import runtime
from .drawing import draw_sentence
from .sidebar import SidebarPanel
from .words import draw_unknown_words, draw_words_button

_Move: TypeAlias = tuple[int, Literal["TRIA_UP", "TRIA_DOWN"]]
_MOVES: tuple[_Move, ...] = ((-1, "TRIA_UP"), (1, "TRIA_DOWN"))
"""Steps of a foreground's move buttons, and their icons."""


class LAYERT2V_PT_shot(SidebarPanel):
    """The next shot."""

    bl_label = "Shot"
    bl_idname = "LAYERT2V_PT_shot"
    bl_order = 0

    def draw(self, context: bpy.types.Context) -> None:
        """Draw prompts, seed, size and Generate."""
        layout = self.layout
        scene = compat.sequencer_scene(context)
        if scene is None:
            layout.label(text="Pick a scene for the sequencer", icon="INFO")
            layout.template_ID(
                context.workspace, "sequencer_scene", new="scene.new_sequencer_scene"
            )
            return
        if not compat.is_editable(scene):
            draw_sentence(
                layout, "This scene is linked from another file. Open that file.", "LOCKED"
            )
            return
        shot = form_of(scene)
        model = runtime.board.model(shot.model)
        layout.prop(shot, "prompt", placeholder="combines the layer prompts")
        draw_unknown_words(layout, model, FULL, shot.prompt)
        row = layout.row(align=True)
        row.prop(shot, "background")
        draw_words_button(row, model, 0)
        draw_unknown_words(layout, model, 0, shot.background)
        self._draw_foregrounds(layout, shot, model)
        layout.prop(shot, "negative_prompt", text="Negative")
        self._draw_seed(layout, shot)
        self._draw_limits(layout, shot)
        layout.operator("layert2v.generate", icon="RENDER_ANIMATION")
        _draw_warnings(layout, scene)

    @staticmethod
    def _draw_seed(layout: bpy.types.UILayout, shot: Form) -> None:
        # Wide enough for the nineteen digits that a layer's seed has.
        split = layout.split(factor=0.78, align=True)
        field = split.row(align=True)
        # The field is disabled while the next shot gets a random seed.
        field.enabled = not shot.is_seed_random
        field.prop(shot, "seed", placeholder="drawn each time")
        field.operator("layert2v.random_seed", text="", icon="FILE_REFRESH")
        split.prop(shot, "is_seed_random", text="Random", toggle=True)
        problem = "" if shot.is_seed_random else seed_problem(shot.seed)
        if problem:
            draw_sentence(layout, problem, "ERROR")

    @staticmethod
    def _draw_foregrounds(layout: bpy.types.UILayout, shot: Form, model: Model | None) -> None:
        layout.label(text="Foregrounds, farthest first")
        for index in range(len(shot.foregrounds)):
            # It has a label of its own, because that of a property takes a third of the row.
            split = layout.split(factor=0.06, align=True)
            split.label(text=str(index + 1))
            row = split.row(align=True)
            row.prop(shot.foregrounds[index], "prompt", text="")
            draw_words_button(row, model, index + 1)
            for step, icon in _MOVES:
                move = row.operator("layert2v.foreground_move", text="", icon=icon)
                move.index, move.step = index, step
            row.operator("layert2v.foreground_remove", text="", icon="X").index = index
            draw_unknown_words(layout, model, index + 1, shot.foregrounds[index].prompt)
        layout.operator("layert2v.foreground_add", icon="ADD")

    @staticmethod
    def _draw_limits(layout: bpy.types.UILayout, shot: Form) -> None:
        model = runtime.board.model(shot.model)
        if model is None:
            layout.label(text="Connect to choose model and size", icon="INFO")
            return
        width, height = (shot.width, shot.height) if shot.width else model.sizes[0]
        if len(runtime.board.models) > 1:
            layout.menu("LAYERT2V_MT_model", text=model.id)
        row = layout.row(align=True)
        row.menu("LAYERT2V_MT_size", text=f"{width} x {height}")
        frames = shot.num_frames or model.num_frames[0]
        row.menu("LAYERT2V_MT_frames", text=f"{frames} frames at {model.fps:g} fps")


def _draw_warnings(layout: bpy.types.UILayout, scene: bpy.types.Scene) -> None:
    view, blending = compat.colour_settings(scene)
    transform, space = view.view_transform, blending.name
    if transform != compat.STANDARD or space not in compat.SRGB_NAMES:
        text = f"View transform {transform} and sequencer space {space} change how the layers look."
        draw_sentence(layout, text, "ERROR")
        layout.operator("layert2v.set_view_transform")


class _MenuOfLimits(bpy.types.Menu):
    """A menu of sizes, lengths or models to choose from."""

    bl_label = ""
    layout: bpy.types.UILayout
    """Blender sets it before it draws."""

    def model(self, context: bpy.types.Context) -> Model | None:
        """Give the shot's model, or None."""
        return runtime.board.model(form_of(compat.edited_scene(context)).model)


class LAYERT2V_MT_size(_MenuOfLimits):
    """Picture sizes of the model."""

    bl_idname = "LAYERT2V_MT_size"
    bl_label = "Size"

    def draw(self, context: bpy.types.Context) -> None:
        """List them."""
        model = self.model(context)
        for width, height in model.sizes if model else ():
            item = self.layout.operator("layert2v.set_size", text=f"{width} x {height}")
            item.width, item.height = width, height


class LAYERT2V_MT_frames(_MenuOfLimits):
    """Lengths of the model."""

    bl_idname = "LAYERT2V_MT_frames"
    bl_label = "Frames"

    def draw(self, context: bpy.types.Context) -> None:
        """List them."""
        model = self.model(context)
        for num_frames in model.num_frames if model else ():
            text = f"{num_frames} frames"
            self.layout.operator("layert2v.set_frames", text=text).num_frames = num_frames


class LAYERT2V_MT_model(_MenuOfLimits):
    """Models of the backend."""

    bl_idname = "LAYERT2V_MT_model"
    bl_label = "Model"

    def draw(self, context: bpy.types.Context) -> None:
        """List them."""
        for model in runtime.board.models:
            text = f"{model.id}: {model.description}"
            self.layout.operator("layert2v.set_model", text=text).model = model.id


CLASSES = (
    LAYERT2V_MT_size,
    LAYERT2V_MT_frames,
    LAYERT2V_MT_model,
    LAYERT2V_PT_shot,
)
