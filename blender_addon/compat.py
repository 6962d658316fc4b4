# SPDX-License-Identifier: GPL-3.0-or-later
"""The only file that knows Blender versions, 4.2 to 5.2. Each branch names its version."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeAlias, TypeGuard

import bpy

SRGB = "sRGB"
"""Colour space of PNG strips and of the sequencer, as every version names it."""
LINEAR = "Linear Rec.709"
"""Colour space of EXR strips, as every version names it."""
SRGB_NAMES = (SRGB, "sRGB - Texture", "sRGB Encoded Rec.709 (sRGB)", "srgb_texture", "srgb_tx")
"""Names of sRGB in the OCIO configurations of studios, from ACES 1.0.3 on, and aliases."""
LINEAR_NAMES = (
    LINEAR,
    "Linear Rec.709 (sRGB)",
    "Utility - Linear - Rec.709",
    "Utility - Linear - sRGB",
    "lin_rec709",
    "lin_srgb",
)
"""Names of `LINEAR` in other OCIO configurations. No role stands for this space."""
STANDARD = "Standard"
"""View transform that shows display-referred pictures as they are."""


Strip: TypeAlias = Any
"""A strip. It has no type of its own, because the versions name its classes differently."""


class ColourSpaceMissing(Exception):
    """Raised when the OCIO configuration has no space for a picture. Names it and the remedy."""


def colour_space(*, is_linear: bool) -> str:
    """Give the space of PNG or of EXR strips as the OCIO configuration in use names it.

    A configuration without a known name for sRGB is asked for its role `default_byte`, the space
    of 8-bit pictures.

    Raises:
        ColourSpaceMissing: The configuration has no such space.
    """
    settings: Any = bpy.types.ColorManagedInputColorspaceSettings.bl_rna.properties["name"]
    known = {item.identifier for item in settings.enum_items}
    names = LINEAR_NAMES if is_linear else SRGB_NAMES
    found = next((name for name in names if name in known), "")
    found = found or ("" if is_linear else _byte_space())
    if found:
        return found
    what = "scene-linear Rec. 709" if is_linear else "sRGB"
    remedy = "Show the shot from PNG" if is_linear else "Add one of these names"
    raise ColourSpaceMissing(
        f"The OCIO configuration has no space for {what} ({', '.join(names)}). {remedy}."
    )


def _byte_space() -> str:
    image: Any = bpy.data.images.new("LayerT2V", 1, 1)
    try:
        return str(image.colorspace_settings.name)
    finally:
        bpy.data.images.remove(image)


def use_standard_view(scene: bpy.types.Scene) -> None:
    """Show pictures as they are and blend strips in sRGB. Set both or neither.

    Raises:
        ColourSpaceMissing: The OCIO configuration has no view `STANDARD`, or no sRGB.
    """
    space = colour_space(is_linear=False)
    view, blending = colour_settings(scene)
    try:
        view.view_transform = STANDARD
    except TypeError:
        raise ColourSpaceMissing(
            f"The OCIO configuration has no view '{STANDARD}'. Choose one without tone mapping in "
            "Render Properties > Color Management."
        ) from None
    view.look = "None"
    blending.name = space


def colour_settings(scene: bpy.types.Scene) -> tuple[Any, Any]:
    """Give the settings of a scene's view and of its sequencer's colour space."""
    return scene.view_settings, scene.sequencer_colorspace_settings


def is_editable(scene: bpy.types.Scene | None) -> TypeGuard[bpy.types.Scene]:
    """Whether a scene may be changed. A scene that is linked from another file is read-only."""
    return scene is not None and scene.library is None


def session_uid(scene: bpy.types.Scene) -> Any:
    """Name a scene while the file is open. Undo keeps the name, and a copy gets another."""
    return getattr(scene, "session_uid", scene.name)


def sequencer_scene(context: bpy.types.Context) -> bpy.types.Scene | None:
    """Give the scene whose sequencer is edited, or None if 5.x has no scene chosen."""
    if bpy.app.version < (5, 0, 0):
        return context.scene
    workspace: Any = context.workspace  # The stubs are those of 4.5.
    chosen = workspace.sequencer_scene if workspace is not None else None
    # Without windows, no scene can be chosen.
    return chosen or (context.scene if bpy.app.background else None)


def edited_scene(context: bpy.types.Context) -> bpy.types.Scene:
    """Give the scene whose sequencer is edited, after an operator's poll has found it."""
    scene = sequencer_scene(context)
    assert scene is not None
    return scene


def strips(editor: Any) -> Any:
    """Give the collection that makes strips: `strips`, or `sequences` before 4.4."""
    return editor.strips if hasattr(editor, "strips") else editor.sequences


def all_strips(scene: bpy.types.Scene) -> list[Strip]:
    """List the strips of a scene, including those inside meta strips."""
    editor = scene.sequence_editor
    if editor is None:
        return []
    return list(editor.strips_all if hasattr(editor, "strips_all") else editor.sequences_all)


def active_strip(scene: bpy.types.Scene) -> Strip | None:
    """Give the active strip of a scene, or None."""
    return scene.sequence_editor.active_strip if scene.sequence_editor else None


def is_image(strip: Strip) -> bool:
    """Whether a strip shows an image sequence."""
    return bool(strip.type == "IMAGE")


def media_folder(strip: Strip) -> Path:
    """Give the folder of a strip's pictures, absolute and without `..`."""
    return Path(os.path.normpath(bpy.path.abspath(strip.directory)))


def span(strip: Strip) -> tuple[int, int]:
    """Give a strip's first frame and the frame after its last, as trimmed."""
    if hasattr(strip, "left_handle"):  # In 5.2 the old names warn.
        return int(strip.left_handle), int(strip.right_handle)
    return int(strip.frame_final_start), int(strip.frame_final_end)


def set_span(strip: Strip, frame_start: int, frame_end: int) -> None:
    """Trim a strip to end before `frame_end` and begin at `frame_start`."""
    if hasattr(strip, "left_handle"):  # 5.2
        strip.right_handle, strip.left_handle = frame_end, frame_start
    else:
        strip.frame_final_end, strip.frame_final_start = frame_end, frame_start


def content_span(strip: Strip) -> tuple[int, int]:
    """Give the first frame of a strip's media and the frame after its last, trimmed or not."""
    name = "content_start" if hasattr(strip, "content_start") else "frame_start"  # 5.2
    start = int(getattr(strip, name))
    return start, start + len(strip.elements)


def _editor(scene: bpy.types.Scene) -> Any:
    return scene.sequence_editor


def blocked_channels(scene: bpy.types.Scene) -> set[int]:
    """Give the channels that are locked or muted."""
    channels = _editor(scene).channels
    return {number for number, channel in enumerate(channels) if channel.lock or channel.mute}


@contextmanager
def prefetch_off(scene: bpy.types.Scene) -> Iterator[None]:
    """Stop the prefetch thread while strips change, because it reads them without a lock."""
    editor = _editor(scene)
    was_on = editor is not None and editor.use_prefetch
    if was_on:
        editor.use_prefetch = False
    try:
        yield
    finally:
        if was_on:
            editor.use_prefetch = True


def is_rendering() -> bool:
    """Whether a render is running."""
    app: Any = bpy.app  # The stubs give this function no result.
    return bool(app.is_job_running("RENDER"))


def _windows() -> Any:
    manager = bpy.context.window_manager
    return manager.windows if manager is not None else ()


def is_user_dragging() -> bool:
    """Whether a transform is running. Changing strips then crashed 5.2 in 3 of 5 runs."""
    return any(
        operator.bl_idname.startswith("TRANSFORM_OT")
        for window in _windows()
        for operator in window.modal_operators
    )


def push_undo(message: str) -> None:
    """Make everything changed so far one undo step. Timers and data access make none."""
    windows = _windows()
    if not windows:
        return
    window = windows[0]
    with bpy.context.temp_override(window=window, screen=window.screen):
        undo_push: Any = bpy.ops.ed.undo_push
        if undo_push.poll():
            undo_push(message=message)


def has_redo_steps() -> bool:
    """Whether the user has undone something. A new undo step would make redo impossible."""
    windows = _windows()
    if not windows:
        return False
    with bpy.context.temp_override(window=windows[0], screen=windows[0].screen):
        redo: Any = bpy.ops.ed.redo
        return bool(redo.poll())


def redraw_sequencers() -> None:
    """Ask every sequencer on screen to draw itself again."""
    for window in _windows():
        for area in window.screen.areas:
            if area.type == "SEQUENCE_EDITOR":
                area.tag_redraw()
