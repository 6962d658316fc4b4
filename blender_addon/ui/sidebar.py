# SPDX-License-Identifier: GPL-3.0-or-later
"""The sidebar of the sequencer, which every panel of the add-on stands in."""

import bpy


class SidebarPanel(bpy.types.Panel):
    """A panel under LayerT2V in the sequencer's sidebar."""

    bl_space_type = "SEQUENCE_EDITOR"
    bl_region_type = "UI"
    bl_category = "LayerT2V"

    layout: bpy.types.UILayout
    """Blender sets it before it draws."""
