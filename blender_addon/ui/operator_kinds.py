# SPDX-License-Identifier: GPL-3.0-or-later
"""Kinds of operators: what several of them have in common."""

from typing import Literal, TypeAlias

import bpy

from .. import compat

Result: TypeAlias = set[
    Literal["RUNNING_MODAL", "CANCELLED", "FINISHED", "PASS_THROUGH", "INTERFACE"]
]
"""What an operator tells Blender of its end."""


class SceneOperator(bpy.types.Operator):
    """An operator that needs a sequencer's scene which may be changed."""

    layout: bpy.types.UILayout
    """Blender sets it before it draws a dialog."""

    @classmethod
    def poll(cls, context: bpy.types.Context) -> bool:
        """Only where a scene's sequencer is edited that is not linked from another file."""
        scene = compat.sequencer_scene(context)
        if scene is not None and not compat.is_editable(scene):
            cls.poll_message_set("The scene is linked from another file: open that file")
        return compat.is_editable(scene)


def window_manager(context: bpy.types.Context) -> bpy.types.WindowManager:
    """Give what opens dialogs; Blender always has one."""
    assert context.window_manager is not None
    return context.window_manager
