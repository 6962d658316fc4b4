"""Walks through the add-on in a real window of Blender, where timers fire and panels are drawn.

`tools/window.sh` starts it: `blender --python walk.py -- ZIP FOLDER`. FOLDER gets a picture of the
screen for each step, to be looked at, and `result`: `passed`, or what failed.
"""

import subprocess
import sys
import time
import traceback
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import bpy

ZIP, FOLDER = map(Path, sys.argv[sys.argv.index("--") + 1 :])
PACKAGE = "bl_ext.user_default.layert2v"
TICK_S = 0.2
"""Seconds between two looks at what a step waits for."""
HANG_S = 900
"""Seconds after which a step counts as hung; a shot of the size used took 60 on one busy core."""

Step = tuple[str, Callable[[], bool]]
"""What a step waits for: its name, which the picture gets too, and whether it is so."""


def walk() -> Iterator[Step]:
    """Install, generate, undo while the job runs, redo, and be asked before the scene changes."""
    bpy.context.preferences.view.show_splash = False
    bpy.ops.extensions.package_install_files(filepath=str(ZIP), repo="user_default")
    bpy.ops.wm.read_homefile(app_template="Video_Editing")
    yield "window", _has_sequencer
    with bpy.context.temp_override(window=_window(), area=_area()):
        bpy.ops.screen.screen_full_area()  # so that all panels fit
    yield "full_area", _has_sequencer
    _area().spaces.active.show_region_ui = True
    yield "sidebar", lambda: _sidebar().width > 1
    _sidebar().active_panel_category = "LayerT2V"
    yield "panels", lambda: True

    _press("backend_start")
    yield "connected", lambda: bool(_board().models)
    _press("foreground_add", prompt="a fox")
    shot = _scene().layert2v
    shot.background, shot.width, shot.height = "a green meadow", *_board().models[0].sizes[-1]
    _press("generate")
    yield "running", lambda: any(view.progress for view in _board().active)
    _undo("undo")
    yield "waits_for_redo", _take_waits
    assert not _strips(), "a take was imported although that removed the redo steps"
    _undo("redo")
    yield "imported", lambda: len(_strips()) == 4

    rate, (background, *_) = _scene().render.fps, _strips()
    background.select, _scene().sequence_editor.active_strip = True, background
    _press("match_scene")
    yield "asks", lambda: True
    assert _scene().render.fps == rate, "the scene was changed without a question"


def _has_sequencer() -> bool:
    return any(area.type == "SEQUENCE_EDITOR" for area in _window().screen.areas)


def _window() -> Any:
    return bpy.context.window_manager.windows[0]


def _area() -> Any:
    areas = [area for area in _window().screen.areas if area.type == "SEQUENCE_EDITOR"]
    return next(area for area in areas if area.spaces.active.view_type == "SEQUENCER")


def _sidebar() -> Any:
    return next(region for region in _area().regions if region.type == "UI")


def _scene() -> Any:
    return _window().workspace.sequencer_scene


def _strips() -> list[Any]:
    editor = _scene().sequence_editor
    return sorted(editor.strips, key=lambda strip: strip.channel) if editor else []


def _board() -> Any:
    return sys.modules[f"{PACKAGE}.scene.runtime"].runtime.board


def _take_waits() -> bool:
    failed = _board().failed
    assert not failed, failed[0].record.error
    return any(view.waiting for view in _board().ready)


def _press(name: str, **settings: Any) -> None:
    """Call an operator as its button in the sidebar does."""
    with bpy.context.temp_override(window=_window(), area=_area(), region=_sidebar()):
        getattr(bpy.ops.layert2v, name)("INVOKE_REGION_WIN", True, **settings)


def _undo(name: str) -> None:
    with bpy.context.temp_override(window=_window(), area=_area()):
        getattr(bpy.ops.ed, name)()


class Walker:
    """Takes the next step as soon as what the last one waits for is so."""

    def __init__(self) -> None:
        self._steps = walk()
        self._step: Step | None = None
        self._number, self._deadline = 0, 0.0

    def tick(self) -> float | None:
        """Look once; None ends the timer."""
        # The border to Blender's timer: whatever fails must reach the result.
        try:
            is_over = self._advance()
        except Exception:  # noqa: BLE001
            return self._end(traceback.format_exc())
        return self._end("passed") if is_over else TICK_S

    def _advance(self) -> bool:
        if self._step is not None:
            name, is_so = self._step
            if not is_so():
                assert time.monotonic() < self._deadline, f"{name}: not so after {HANG_S} s"
                return False
            self._number += 1
            picture = FOLDER / f"{self._number:02}_{name}.png"
            with bpy.context.temp_override(window=_window()):
                bpy.ops.wm.redraw_timer(type="DRAW_WIN_SWAP", iterations=1)
            subprocess.run(["import", "-window", "root", str(picture)], check=True)
        self._step = next(self._steps, None)
        self._deadline = time.monotonic() + HANG_S
        return self._step is None

    @staticmethod
    def _end(result: str) -> None:
        (FOLDER / "result").write_text(result, encoding="utf-8")
        bpy.ops.wm.quit_blender()


bpy.app.timers.register(Walker().tick, first_interval=1, persistent=True)
