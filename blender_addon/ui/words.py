# SPDX-License-Identifier: GPL-3.0-or-later
"""Known words, offered beside each prompt, and warnings of unknown ones."""

import math
from collections.abc import Sequence
from typing import Any

import bpy
from bpy.props import IntProperty, StringProperty

from layert2v_client import Model

from .. import compat
from ..core.shots import layer_name
from ..core.words import additions_of, subjects_of, unknown_message, with_words
from ..scene import provenance
from ..scene.form import form_of
from ..scene.runtime import runtime
from .drawing import draw_sentence
from .operator_kinds import Result, SceneOperator, window_manager

_ROWS_OF_A_COLUMN = 14
"""Forty subjects take three columns, which a laptop's screen has room for."""


def draw_words_button(row: bpy.types.UILayout, model: Model | None, layer_index: int) -> None:
    """Draw the button that offers a layer's words, unless the model lists none."""
    if subjects_of(model, layer_index):
        button = row.operator("layert2v.offer_words", text="", icon="DOWNARROW_HLT")
        button.layer_index = layer_index


def draw_unknown_words(
    layout: bpy.types.UILayout, model: Model | None, layer_index: int, prompt: str
) -> None:
    """Draw a warning of the words in a prompt that the model does not know."""
    message = unknown_message(model, layer_index, prompt)
    if message:
        draw_sentence(layout, message, "ERROR")


def draw_words(layout: bpy.types.UILayout, model: Model | None, layer_index: int) -> None:
    """Draw a layer's words in columns: subjects, then motions or moves of the camera."""
    row = layout.row()
    for words in (subjects_of(model, layer_index), additions_of(model, layer_index)):
        _draw_columns(row, words, layer_index)


def _draw_columns(row: bpy.types.UILayout, words: Sequence[str], layer_index: int) -> None:
    num_columns = math.ceil(len(words) / _ROWS_OF_A_COLUMN)
    num_rows = math.ceil(len(words) / max(num_columns, 1))
    for start in range(0, len(words), max(num_rows, 1)):
        column = row.column()
        for each in words[start : start + num_rows]:
            item = column.operator("layert2v.use_words", text=each)
            item.layer_index, item.words = layer_index, each


def suggest_words(_: Any, context: bpy.types.Context, __: str) -> list[str]:
    """List the words for the layer that the selected strip shows; Blender filters them."""
    described = provenance.read_or_none(compat.active_strip(compat.edited_scene(context)))
    if described is None:
        return []
    return subjects_of(runtime.board.model(described.model), described.layer)


class LAYERT2V_OT_offer_words(SceneOperator):
    """Choose among the words that the model knows."""

    bl_idname = "layert2v.offer_words"
    bl_label = "Choose Known Words"

    layer_index: IntProperty(options={"HIDDEN", "SKIP_SAVE"})

    def invoke(self, context: bpy.types.Context, event: bpy.types.Event) -> Result:
        """Open them as a menu."""
        layer_index = self.layer_index

        def draw(menu: Any, context: bpy.types.Context) -> None:
            shot = form_of(compat.edited_scene(context))
            draw_words(menu.layout, runtime.board.model(shot.model), layer_index)

        title = f"{layer_name(layer_index).capitalize()}: known words"
        window_manager(context).popup_menu(draw, title=title)
        return {"INTERFACE"}


class LAYERT2V_OT_use_words(SceneOperator):
    """Write these words into the prompt."""

    bl_idname = "layert2v.use_words"
    bl_label = "Use Words"
    bl_options = {"UNDO", "INTERNAL"}

    layer_index: IntProperty(options={"HIDDEN", "SKIP_SAVE"})
    words: StringProperty(options={"HIDDEN", "SKIP_SAVE"})

    def execute(self, context: bpy.types.Context) -> Result:
        """Write them. A subject replaces the prompt, and a motion is added to it."""
        shot = form_of(compat.edited_scene(context))
        model, layer_index = runtime.board.model(shot.model), self.layer_index
        if layer_index == 0:
            shot.background = with_words(model, 0, shot.background, self.words)
        elif 0 < layer_index <= len(shot.foregrounds):
            foreground = shot.foregrounds[layer_index - 1]
            foreground.prompt = with_words(model, layer_index, foreground.prompt, self.words)
        else:
            return {"CANCELLED"}
        # A popup menu redraws nothing: the sidebar showed the old prompt (seen in 4.3.2).
        compat.redraw_sequencers()
        return {"FINISHED"}


CLASSES = (LAYERT2V_OT_offer_words, LAYERT2V_OT_use_words)
