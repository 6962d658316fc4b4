# SPDX-License-Identifier: GPL-3.0-or-later
"""The panel of the selected strip's layer and its takes."""

import bpy

from .. import compat
from ..core.shots import layer_name
from ..scene import provenance
from ..scene.provenance import Provenance
from .drawing import draw_sentence
from .sidebar import SidebarPanel


class LAYERT2V_PT_layer(SidebarPanel):
    """The selected strip's layer and its takes."""

    bl_label = "Layer"
    bl_idname = "LAYERT2V_PT_layer"
    bl_order = 1

    @classmethod
    def poll(cls, context: bpy.types.Context) -> bool:
        """Show it while a generated strip is selected."""
        scene = compat.sequencer_scene(context)
        return scene is not None and _described(scene) is not None

    def draw(self, context: bpy.types.Context) -> None:
        """Draw the layer's recipe and its operators."""
        layout = self.layout
        described = _described(compat.edited_scene(context))
        assert described is not None
        layout.label(text=f"{layer_name(described.layer).capitalize()}, take {described.take}")
        draw_sentence(layout, described.prompt)
        layout.label(text=f"Seed {described.seed}, model {described.model}")
        for line in described.notice.splitlines():
            draw_sentence(layout, line, "INFO")
        row = layout.row(align=True)
        row.operator("layert2v.step_take", text="Previous Take", icon="TRIA_LEFT").step = -1
        row.operator("layert2v.step_take", text="Next Take", icon="TRIA_RIGHT").step = 1
        if described.layer >= 0:
            layout.operator("layert2v.regenerate", text="Regenerate with New Prompt...")
            layout.operator_context = "EXEC_DEFAULT"
            layout.operator("layert2v.regenerate", text="Regenerate with New Seed")
            # All layouts of a panel share it, and the operators below ask first.
            layout.operator_context = "INVOKE_REGION_WIN"
        layout.operator("layert2v.match_scene", text="Match Scene to This Take...")
        layout.operator_menu_enum("layert2v.show_format", "format", text="Image Files of Shot")


def _described(scene: bpy.types.Scene) -> Provenance | None:
    return provenance.read_or_none(compat.active_strip(scene))


CLASSES = (LAYERT2V_PT_layer,)
