# SPDX-License-Identifier: GPL-3.0-or-later
"""Preferences of the add-on: the backend's address, and how to start a backend here.

The user names the address. An empty one means this computer, so nothing reaches a network unless
the user says so. Hence the add-on does not ask for Blender's online access.
"""

from dataclasses import dataclass
from typing import Any

import bpy
from bpy.props import BoolProperty, StringProperty

from layert2v_client import default_address

from ..core.board import counted
from ..core.session import Session
from ..scene.runtime import runtime

PACKAGE = __package__.rpartition(".")[0]


class LAYERT2V_AP_preferences(bpy.types.AddonPreferences):
    """Shown under Preferences, Add-ons."""

    bl_idname = PACKAGE
    layout: bpy.types.UILayout
    """Blender sets it before it draws."""

    address: StringProperty(
        name="Backend Address",
        description="Set unix:/path or host:port. Leave empty to use the backend of this computer",
    )
    token: StringProperty(
        name="Token",
        description="Proves who you are to a remote backend. Preferences store it as plain text",
        subtype="PASSWORD",
    )
    command: StringProperty(
        name="Backend Command",
        description=(
            "Starts a backend on this computer. Set a command, a Python interpreter or the folder "
            "of a virtual environment. Leave empty to use layert2v-backend from PATH"
        ),
        subtype="FILE_PATH",
    )
    unsaved_folder: StringProperty(
        name="Unsaved Media",
        description=(
            "Holds layers of files that were never saved. Leave empty to keep them with "
            "Blender's temporary files. They are copied beside the file when it is saved"
        ),
        subtype="DIR_PATH",
    )
    with_masters: BoolProperty(
        name="Fetch EXR Masters",
        description="Also fetch half-float EXR files for grading, in about twice the disk space",
        default=True,
    )

    def draw(self, context: bpy.types.Context) -> None:
        """Draw the preferences."""
        layout = self.layout
        layout.use_property_split = True
        layout.prop(self, "address", placeholder=default_address())
        layout.prop(self, "token")
        layout.prop(self, "command")
        layout.prop(self, "unsaved_folder")
        layout.prop(self, "with_masters")
        count = len(runtime.board.active)
        if count and runtime.launcher.is_running:
            text = f"{counted(count, 'job')} running. Disabling the add-on stops its backend."
            layout.label(text=text, icon="ERROR")


def chosen_folder() -> str:
    """Give the folder for media of unsaved files, empty if none was chosen."""
    stored = _stored_or_none()
    return str(stored.unsaved_folder) if stored is not None else ""


def _stored_or_none() -> Any:
    """Give the preferences; None where the add-on is not installed."""
    preferences = bpy.context.preferences
    addon = preferences.addons.get(PACKAGE) if preferences is not None else None
    return addon.preferences if addon is not None else None


@dataclass(frozen=True)
class Settings:
    """The preferences, or their defaults where the add-on is not installed (scripts, tests)."""

    address: str = ""
    """Where the backend is. Empty means this computer."""
    token: str = ""
    """The token. Empty means that there is none."""
    command: str = ""
    """Starts a backend. Empty means `layert2v-backend` on PATH."""
    with_masters: bool = True
    """Whether EXR masters are fetched as well."""


def settings() -> Settings:
    """Read the preferences."""
    stored = _stored_or_none()
    if stored is None:
        return Settings()
    return Settings(stored.address, stored.token, stored.command, stored.with_masters)


def connect(address: str = "") -> Session:
    """Connect to the backend of the preferences, or to `address`."""
    chosen = settings()
    return runtime.connect(
        address or chosen.address, chosen.token, with_masters=chosen.with_masters
    )


def ensure_session() -> Session:
    """Give the session; without one, connect as the preferences say."""
    return runtime.session or connect()


CLASSES = (LAYERT2V_AP_preferences,)
