# SPDX-License-Identifier: GPL-3.0-or-later
"""Operators for the link: connect, start and stop a backend on this computer."""

from typing import Any

import bpy
from bpy.props import StringProperty

from layert2v_client import BadAddress, default_address, parse_address

from ..core.board import counted
from ..core.launcher import BackendNotFound, find_command
from ..scene import project
from ..scene.runtime import runtime
from . import preferences
from .operator_kinds import Result, window_manager


class LAYERT2V_OT_connect(bpy.types.Operator):
    """Connect to the backend and resume this file's unfinished jobs."""

    bl_idname = "layert2v.connect"
    bl_label = "Connect"
    bl_options = set()

    address: StringProperty(options={"HIDDEN", "SKIP_SAVE"})

    def execute(self, context: bpy.types.Context) -> Result:
        """Connect."""
        try:
            parse_address(self.address or preferences.settings().address or default_address())
        except BadAddress as error:
            self.report({"ERROR"}, str(error))
            return {"CANCELLED"}
        _connect(self.address)
        return {"FINISHED"}


class LAYERT2V_OT_backend_start(bpy.types.Operator):
    """Start a backend on this computer. It stops when Blender quits."""

    bl_idname = "layert2v.backend_start"
    bl_label = "Start Backend"
    bl_options = set()

    command: StringProperty(options={"HIDDEN", "SKIP_SAVE"})
    address: StringProperty(options={"HIDDEN", "SKIP_SAVE"})
    state_folder: StringProperty(options={"HIDDEN", "SKIP_SAVE"})

    def execute(self, context: bpy.types.Context) -> Result:
        """Start it and connect."""
        chosen = preferences.settings()
        address = self.address or chosen.address or default_address()
        session, board = runtime.session, runtime.board
        if board.is_up and session is not None and session.address == address:
            self.report({"INFO"}, f"A backend already answers at {address}.")
            return {"CANCELLED"}
        try:
            if not parse_address(address).is_local:
                raise BackendNotFound(
                    f"The backend address {address} is not on this computer. Start it there, or "
                    "clear the address in the preferences."
                )
            command = find_command(self.command or chosen.command)
            runtime.launcher.start(command, address, state_folder=self.state_folder)
        except (BackendNotFound, BadAddress) as error:
            self.report({"ERROR"}, str(error))
            return {"CANCELLED"}
        _connect(address)
        return {"FINISHED"}


def _connect(address: str) -> None:
    preferences.connect(address)
    project.reattach()


class LAYERT2V_OT_backend_stop(bpy.types.Operator):
    """Stop the backend that Blender started. Its jobs resume when it starts again."""

    bl_idname = "layert2v.backend_stop"
    bl_label = "Stop Backend"
    bl_options = set()

    @classmethod
    def poll(cls, context: bpy.types.Context) -> bool:
        """Allow it while the backend runs."""
        return runtime.launcher.is_running

    def invoke(self, context: bpy.types.Context, event: bpy.types.Event) -> Result:
        """Ask first while jobs run."""
        count = len(runtime.board.active)
        if not count:
            return self.execute(context)
        return window_manager(context).invoke_confirm(
            self,
            event,
            title=self.bl_label,
            message=(
                f"{counted(count, 'job')} running. The work resumes when the backend starts again."
            ),
            confirm_text="Stop",
        )

    def execute(self, context: bpy.types.Context) -> Result:
        """Ask it to stop."""
        runtime.launcher.stop()
        return {"FINISHED"}


class LAYERT2V_OT_backend_log(bpy.types.Operator):
    """Show the end of the local backend's log in the text editor."""

    bl_idname = "layert2v.backend_log"
    bl_label = "Show Backend Log"

    def execute(self, context: bpy.types.Context) -> Result:
        """Write the log's tail into a text."""
        text: Any = bpy.data.texts.get("LayerT2V backend log")
        text = text or bpy.data.texts.new("LayerT2V backend log")
        text.clear()
        text.write(runtime.launcher.log_tail() or "The backend has written nothing.\n")
        self.report({"INFO"}, f"See the text '{text.name}' in the text editor.")
        return {"FINISHED"}


CLASSES = (
    LAYERT2V_OT_connect,
    LAYERT2V_OT_backend_start,
    LAYERT2V_OT_backend_stop,
    LAYERT2V_OT_backend_log,
)
