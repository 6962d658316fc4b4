# SPDX-License-Identifier: GPL-3.0-or-later
"""What the artist sees: properties, preferences, operators, panels."""

# Imported at once, not when first needed: another extension may swap protobuf on disk later.
import bpy

import layert2v_client  # noqa: F401

from ..scene import media, pump
from . import (
    connection_operators,
    job_operators,
    panels,
    preferences,
    properties,
    shot_operators,
    take_operators,
    words,
)

_CLASSES = (
    *properties.CLASSES,
    *preferences.CLASSES,
    *connection_operators.CLASSES,
    *shot_operators.CLASSES,
    *job_operators.CLASSES,
    *take_operators.CLASSES,
    *words.CLASSES,
    *panels.CLASSES,
)


def register() -> None:
    """Register every class, the scene's properties, the timer and the handlers."""
    for each in _CLASSES:
        bpy.utils.register_class(each)
    bpy.types.Scene.layert2v = bpy.props.PointerProperty(type=properties.LAYERT2V_PG_scene)
    bpy.types.SEQUENCER_MT_add.append(panels.draw_in_add_menu)
    bpy.types.SEQUENCER_MT_strip.append(panels.draw_in_strip_menu)
    media.chosen_folder = preferences.chosen_folder
    pump.register(preferences.connect)


def unregister() -> None:
    """Take everything out again."""
    pump.unregister()
    bpy.types.SEQUENCER_MT_add.remove(panels.draw_in_add_menu)
    bpy.types.SEQUENCER_MT_strip.remove(panels.draw_in_strip_menu)
    del bpy.types.Scene.layert2v
    for each in reversed(_CLASSES):
        bpy.utils.unregister_class(each)
