# SPDX-License-Identifier: GPL-3.0-or-later
"""The panel of the link to the backend."""

import bpy

from layert2v_client import default_address

from ..core.launcher import LaunchState
from ..scene.runtime import runtime
from .drawing import LINE_CHARS, draw_sentence
from .sidebar import SidebarPanel


class LAYERT2V_PT_connection(SidebarPanel):
    """The link to the backend."""

    bl_label = "Backend"
    bl_idname = "LAYERT2V_PT_connection"
    bl_order = 3

    def draw(self, context: bpy.types.Context) -> None:
        """Draw the link's state and its buttons."""
        layout, board = self.layout, runtime.board
        address = runtime.session.address if runtime.session else default_address()
        is_ours = runtime.launcher.address == address
        has_failed = is_ours and not board.is_up and runtime.launcher.state is LaunchState.ENDED
        if board.is_up and board.info:
            is_loaded = board.info.is_model_loaded or board.is_working
            loading = "" if is_loaded else ", model not loaded yet"
            text = f"Connected, version {board.info.version}{loading}"
            layout.label(text=text, icon="CHECKMARK")
        elif has_failed:
            draw_sentence(layout, runtime.launcher.failure(), "ERROR")
        elif is_ours and (runtime.launcher.is_running or runtime.launcher.is_stopped_on_purpose):
            layout.label(text=str(runtime.launcher.state).capitalize(), icon="UNLINKED")
        elif runtime.session and board.is_up is False:
            draw_sentence(layout, board.message, "ERROR")
            draw_sentence(layout, board.remedy)
        else:
            layout.label(text="Not connected", icon="UNLINKED")
        layout.label(text=address if len(address) < LINE_CHARS else f"...{address[-43:]}")
        row = layout.row(align=True)
        row.operator("layert2v.connect")
        if runtime.launcher.is_running:
            row.operator("layert2v.backend_stop")
        elif not board.is_up:
            row.operator("layert2v.backend_start")
        if has_failed:
            layout.operator("layert2v.backend_log")
        if runtime.launcher.is_running and board.active:
            draw_sentence(
                layout, "Quitting Blender stops this backend. Its jobs resume when it starts again."
            )


CLASSES = (LAYERT2V_PT_connection,)
