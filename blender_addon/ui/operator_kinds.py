# SPDX-License-Identifier: GPL-3.0-or-later
"""The kinds of operators that several others are."""

from typing import Literal, TypeAlias

import bpy

from .. import compat

Result: TypeAlias = set[
    Literal["RUNNING_MODAL", "CANCELLED", "FINISHED", "PASS_THROUGH", "INTERFACE"]
]
"""How an operator tells Blender that it has ended."""


class SceneOperator(bpy.types.Operator):
    """An operator that needs a sequencer's scene which may be changed."""

    layout: bpy.types.UILayout
    """Blender sets it before it draws a dialog."""

    @classmethod
    def poll(cls, context: bpy.types.Context) -> bool:
        """Allow it where the edited scene is not linked from another file."""
        scene = compat.sequencer_scene(context)
        if scene is not None and not compat.is_editable(scene):
            cls.poll_message_set("The scene is linked from another file. Open that file")
        return compat.is_editable(scene)


def window_manager(context: bpy.types.Context) -> bpy.types.WindowManager:
    """Give the window manager, which opens dialogs. Blender always has one."""
    assert context.window_manager is not None
    return context.window_manager
