# SPDX-License-Identifier: GPL-3.0-or-later
"""Entries in the sequencer's own menus."""

from typing import Any

import bpy


def draw_in_add_menu(self: Any, context: bpy.types.Context) -> None:
    """Offer takes on disk in the sequencer's Add menu, so that search finds them too."""
    self.layout.separator()
    self.layout.operator("layert2v.import_take", text="Import Take...", icon="RENDERLAYERS")


def draw_in_strip_menu(self: Any, context: bpy.types.Context) -> None:
    """Offer Match Scene to Shot in the sequencer's Strip menu."""
    self.layout.separator()
    self.layout.operator("layert2v.match_scene")
