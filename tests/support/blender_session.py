"""A fresh Blender with the add-on registered, for tests inside a bpy module."""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from support import pictures
from support.waiting import HANG_S


@contextmanager
def fresh_blender() -> Iterator[Any]:
    """Reset Blender to an empty file and register the add-on. End both afterwards."""
    import bpy

    import blender_addon
    from blender_addon.scene import pump

    bpy.ops.wm.read_factory_settings(use_empty=True)
    bpy.context.preferences.system.use_online_access = True
    blender_addon.register()
    try:
        yield bpy
    finally:
        blender_addon.unregister()
        bpy.app.timers.unregister(pump.close_if_gone)
        pump.close_if_gone()


def pump_until(is_done: Callable[[], bool], what: str) -> None:
    """Pump by hand, as the timer would, until a condition holds."""
    from blender_addon.scene.pump import pump

    deadline = time.monotonic() + HANG_S
    while not is_done():
        if time.monotonic() > deadline:
            raise AssertionError(f"waited {HANG_S:g} s for: {what}")
        if not pump():
            time.sleep(0.005)


def connect(bpy: Any, address: str) -> None:
    """Connect and wait for the models."""
    from blender_addon.scene.runtime import runtime

    bpy.ops.layert2v.connect(address=address)
    pump_until(lambda: bool(runtime.board.models), "the backend's models")


def fill_shot(
    bpy: Any, *foregrounds: str, background: str = "a beach", seed: int | str = 5
) -> None:
    """Write the next shot into the scene."""
    shot = bpy.context.scene.layert2v
    shot.background = background
    shot.foregrounds.clear()
    for prompt in foregrounds:
        bpy.ops.layert2v.foreground_add(prompt=prompt)
    shot.is_seed_random = False
    shot.seed = str(seed)


def generate(bpy: Any, *foregrounds: str, **others: Any) -> None:
    """Generate a shot and wait until it is on the timeline."""
    fill_shot(bpy, *foregrounds, **others)
    assert bpy.ops.layert2v.generate() == {"FINISHED"}
    wait_for_settled()


def wait_for_settled() -> None:
    """Wait until no request is running or waits to be imported."""
    from blender_addon.scene.runtime import runtime

    def is_settled() -> bool:
        board = runtime.board
        return bool(board.jobs) and not board.active and not board.ready

    pump_until(is_settled, "every job to be settled")


def strip_named(bpy: Any, name: str) -> Any:
    """Give a strip by name."""
    from blender_addon import compat

    (found,) = [s for s in compat.all_strips(bpy.context.scene) if s.name == name]
    return found


def select(bpy: Any, strip: Any) -> None:
    """Make a strip the active one."""
    strip.select = True
    bpy.context.scene.sequence_editor.active_strip = strip


def render_frame(bpy: Any, frame: int, folder: Path) -> np.ndarray:
    """Render one frame of the sequencer as 8-bit PNG, and give it as uint8 (H, W, C)."""
    scene = bpy.context.scene
    settings = scene.render.image_settings
    settings.file_format, settings.color_mode, settings.color_depth = "PNG", "RGB", "8"
    scene.render.use_sequencer = True
    scene.render.dither_intensity = 0
    scene.render.filepath = str(folder / f"render_{frame}_{time.monotonic_ns()}.png")
    scene.frame_set(frame)
    bpy.ops.render.render(write_still=True)
    return pictures.read_png(Path(scene.render.filepath).read_bytes())


def largest_difference(one: np.ndarray, other: np.ndarray) -> int:
    """Give the largest difference of two 8-bit pictures, in 1/255."""
    return int(np.abs(one[..., :3].astype(int) - other[..., :3].astype(int)).max())
