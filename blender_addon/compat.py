# SPDX-License-Identifier: GPL-3.0-or-later
"""The only file that knows Blender versions, 4.2 to 5.2. Says which version needs each branch."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import bpy

SRGB = "sRGB"
"""Colour space of PNG strips and of the sequencer, as every version names it."""
LINEAR = "Linear Rec.709"
"""Colour space of EXR strips."""
STANDARD = "Standard"
"""View transform that shows display-referred pictures as they are."""


def sequencer_scene(context: Any) -> Any:
    """Give the scene whose sequencer is edited, or None where 5.x has none chosen."""
    if bpy.app.version < (5, 0, 0):
        return context.scene
    workspace = context.workspace
    chosen = workspace.sequencer_scene if workspace is not None else None
    # Without windows nobody can choose one.
    return chosen or (context.scene if bpy.app.background else None)


def strips(editor: Any) -> Any:
    """Give the collection that makes strips: `strips`, before 4.4 `sequences`."""
    return editor.strips if hasattr(editor, "strips") else editor.sequences


def all_strips(scene: Any) -> list[Any]:
    """List the strips of a scene, those inside meta strips too."""
    editor = scene.sequence_editor
    if editor is None:
        return []
    return list(editor.strips_all if hasattr(editor, "strips_all") else editor.sequences_all)


def active_strip(scene: Any) -> Any:
    """Give the active strip of a scene, or None."""
    return scene.sequence_editor.active_strip if scene.sequence_editor else None


def is_image(strip: Any) -> bool:
    """Whether a strip shows an image sequence."""
    return bool(strip.type == "IMAGE")


def span(strip: Any) -> tuple[int, int]:
    """Give a strip's first frame and the frame after its last, as trimmed."""
    if hasattr(strip, "left_handle"):  # 5.2; the old names warn there
        return int(strip.left_handle), int(strip.right_handle)
    return int(strip.frame_final_start), int(strip.frame_final_end)


def set_span(strip: Any, frame_start: int, frame_end: int) -> None:
    """Trim a strip to end before `frame_end` and begin at `frame_start`."""
    if hasattr(strip, "left_handle"):  # 5.2
        strip.right_handle, strip.left_handle = frame_end, frame_start
    else:
        strip.frame_final_end, strip.frame_final_start = frame_end, frame_start


def content_span(strip: Any) -> tuple[int, int]:
    """Give the first frame of a strip's media and the frame after its last, trimmed or not."""
    name = "content_start" if hasattr(strip, "content_start") else "frame_start"  # 5.2
    start = int(getattr(strip, name))
    return start, start + len(strip.elements)


def blocked_channels(scene: Any) -> set[int]:
    """Give the channels that are locked or muted."""
    channels = scene.sequence_editor.channels
    return {number for number, channel in enumerate(channels) if channel.lock or channel.mute}


@contextmanager
def prefetch_off(scene: Any) -> Iterator[None]:
    """Keep the prefetch thread away while strips change: it reads them without a lock."""
    editor = scene.sequence_editor
    was_on = editor.use_prefetch
    if was_on:
        editor.use_prefetch = False
    try:
        yield
    finally:
        if was_on:
            editor.use_prefetch = True


def is_user_dragging() -> bool:
    """Whether a transform is going on: changing strips then crashed 5.2 in 3 of 5 runs."""
    windows = bpy.context.window_manager.windows
    return any(
        operator.bl_idname.startswith("TRANSFORM_OT")
        for window in windows
        for operator in window.modal_operators
    )


def push_undo(message: str) -> None:
    """Make everything changed so far one undo step; timers and data access make none."""
    windows = bpy.context.window_manager.windows
    if not windows:
        return
    window = windows[0]
    with bpy.context.temp_override(window=window, screen=window.screen):
        if bpy.ops.ed.undo_push.poll():
            bpy.ops.ed.undo_push(message=message)


def redraw_sequencers() -> None:
    """Ask every sequencer on screen to draw itself again."""
    for window in bpy.context.window_manager.windows:
        for area in window.screen.areas:
            if area.type == "SEQUENCE_EDITOR":
                area.tag_redraw()
