# SPDX-License-Identifier: GPL-3.0-or-later
"""The user interface: properties, preferences, operators, panels."""

from typing import Any

# The client is imported at once, because another extension may swap protobuf on disk later.
import bpy

import layert2v_client  # noqa: F401

from ..scene import media, pump
from . import (
    connection_operators,
    connection_panel,
    form_operators,
    job_operators,
    jobs_panel,
    layer_panel,
    menus,
    preferences,
    properties,
    scene_operators,
    shot_operators,
    shot_panel,
    take_operators,
    words,
)

_CLASSES: tuple[Any, ...] = (
    *properties.CLASSES,
    *preferences.CLASSES,
    *connection_operators.CLASSES,
    *form_operators.CLASSES,
    *shot_operators.CLASSES,
    *job_operators.CLASSES,
    *take_operators.CLASSES,
    *scene_operators.CLASSES,
    *words.CLASSES,
    *shot_panel.CLASSES,
    *layer_panel.CLASSES,
    *jobs_panel.CLASSES,
    *connection_panel.CLASSES,
)


def register() -> None:
    """Register every class, the scene's properties, the timer and the handlers."""
    for each in _CLASSES:
        if issubclass(each, bpy.types.Operator):
            each.bl_description = tooltip_of(each)
        bpy.utils.register_class(each)
    scene: Any = bpy.types.Scene
    pointer: Any = bpy.props.PointerProperty
    scene.layert2v = pointer(type=properties.LAYERT2V_PG_scene)
    bpy.types.SEQUENCER_MT_add.append(menus.draw_in_add_menu)
    bpy.types.SEQUENCER_MT_strip.append(menus.draw_in_strip_menu)
    media.chosen_folder = preferences.chosen_folder
    pump.register(preferences.connect)


def tooltip_of(operator: type) -> str:
    """Give an operator's docstring as a tooltip: on one line, without the final full stop.

    Blender ends every tooltip with a full stop of its own.
    """
    return " ".join((operator.__doc__ or "").split()).removesuffix(".")


def unregister() -> None:
    """Take everything out again."""
    pump.unregister()
    bpy.types.SEQUENCER_MT_add.remove(menus.draw_in_add_menu)
    bpy.types.SEQUENCER_MT_strip.remove(menus.draw_in_strip_menu)
    scene: Any = bpy.types.Scene
    del scene.layert2v
    for each in reversed(_CLASSES):
        bpy.utils.unregister_class(each)
