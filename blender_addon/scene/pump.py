# SPDX-License-Identifier: GPL-3.0-or-later
"""Drains the session's queue on the main thread. Only here do threads meet bpy.

`tick` is the timer's callback. Without a window timers never fire, so tests and scripts call
`pump` themselves.
"""

import atexit
import logging
import queue
from collections.abc import Callable
from typing import Any

import bpy

from .. import compat
from ..core.board import JobView
from . import copies, importing, media, project
from .runtime import runtime

BUSY_S = 0.25
"""Seconds between two ticks while jobs run."""
IDLE_S = 1.0
"""Seconds between two ticks while no jobs run."""
GONE_S = 1.0
"""Seconds from unregistering until the add-on counts as gone. Registering it again for another
template happens in the same call."""
MOST_EVENTS = 200
"""Most events applied per tick, so that a tick stays short."""

_log = logging.getLogger(__name__)
_held: set[str] = set()
"""Reasons why strips must not change now: saving, loading, rendering."""


def tick() -> float:
    """Pump, and return the seconds until the next call."""
    # This is the border to Blender's timer, which an error would end for good.
    try:
        if runtime.is_newly_registered:  # A file may have been loaded meanwhile.
            runtime.is_newly_registered = False
            media.tidy()
            _after_load()
        pump()
    except Exception:  # noqa: BLE001
        _log.exception("the pump met a fault")
    is_due = any(not view.waiting for view in runtime.board.ready)
    return BUSY_S if runtime.board.active or is_due else IDLE_S


def pump() -> bool:
    """Take in the session's events, and import at most one take.

    Returns:
        Whether anything has changed.
    """
    changed = _drain()
    if not is_held():
        project.refresh()
        _separate_copies()
        changed = _import_next() or changed
    if changed:
        compat.redraw_sequencers()
    return changed


def is_held() -> bool:
    """Whether strips must not be touched now."""
    return bool(_held) or compat.is_rendering() or compat.is_user_dragging()


def _drain() -> bool:
    if runtime.session is None:
        return False
    changed = False
    for _ in range(MOST_EVENTS):
        try:
            event = runtime.session.events.get_nowait()
        except queue.Empty:
            break
        runtime.board.apply(event)
        changed = True
    return changed


def _separate_copies() -> None:
    """Give copies of shots their own ids as soon as the number of strips changes."""
    for scene in project.scenes():
        num_strips = len(compat.all_strips(scene))
        key = compat.session_uid(scene)
        if runtime.num_strips.get(key) != num_strips:
            copies.separate_copies(scene)
            runtime.num_strips[key] = num_strips


def _import_next() -> bool:
    """Import the first ready take that need not wait, and note why earlier takes wait."""
    changed = False
    for view in runtime.board.ready:
        waiting = importing.why_waiting(view)
        changed = changed or waiting != view.waiting
        view.waiting = waiting
        if not waiting:
            importing.settle(view, project.scene_of(view.record))
            return True
    return changed


def import_now(view: JobView) -> bool:
    """Import a waiting take that the artist asks for. Return whether it could be tried."""
    if is_held():
        return False
    importing.settle(view, importing.target_of(view.record), is_asked=True)
    compat.redraw_sequencers()
    return True


def _hold(reason: str) -> Callable[..., None]:
    @bpy.app.handlers.persistent
    def hold(*_: Any) -> None:
        _held.add(reason)

    return hold


def _release(reason: str) -> Callable[..., None]:
    @bpy.app.handlers.persistent
    def release(*_: Any) -> None:
        _held.discard(reason)

    return release


@bpy.app.handlers.persistent
def _before_save(path: Any = "", *_: Any) -> None:
    if path:  # It is empty for the start-up file.
        project.remember_path(str(path))
        media.bring_beside(str(path))


@bpy.app.handlers.persistent
def _after_save(*_: Any) -> None:
    # The answers depend on the file's path, which may have changed.
    runtime.asked_here.clear()


@bpy.app.handlers.persistent
def _after_undo(*_: Any) -> None:
    project.refresh()


@bpy.app.handlers.persistent
def _after_load(*_: Any) -> None:
    runtime.forget_file()
    project.refresh()
    if runtime.session is None and any(map(project.has_unfinished, project.scenes())):
        connect_by_default()
    project.reattach()


def _connect_nowhere() -> None:
    """Stand in until the user interface supplies the connection."""


connect_by_default: Callable[[], object] = _connect_nowhere
"""Function that connects according to the preferences. `ui` sets it."""

_HANDLERS = [
    ("save_pre", _hold("save")),
    ("save_pre", _before_save),
    ("save_post", _release("save")),
    ("save_post", _after_save),
    ("save_post_fail", _release("save")),
    ("load_pre", _hold("load")),
    ("load_post", _release("load")),
    ("load_post_fail", _release("load")),
    ("render_init", _hold("render")),
    ("render_complete", _release("render")),
    ("render_cancel", _release("render")),
    ("undo_post", _after_undo),
    ("redo_post", _after_undo),
    ("load_post", _after_load),
]


def register(connect: Callable[[], object]) -> None:
    """Start the timer and watch for saving, loading, rendering and undo."""
    global connect_by_default
    connect_by_default = connect
    runtime.is_registered = runtime.is_newly_registered = True
    atexit.unregister(runtime.close)
    atexit.register(runtime.close)
    for name, handler in _HANDLERS:
        getattr(bpy.app.handlers, name).append(handler)
    bpy.app.timers.register(tick, first_interval=IDLE_S, persistent=True)


def unregister() -> None:
    """Stop the timer. Session and backend end soon, unless the add-on comes back.

    Blender registers add-ons again for File > New with another template. Then session, jobs and
    local backend continue.
    """
    runtime.is_registered = False
    if bpy.app.timers.is_registered(tick):
        bpy.app.timers.unregister(tick)
    for name, handler in _HANDLERS:
        handlers = getattr(bpy.app.handlers, name)
        if handler in handlers:
            handlers.remove(handler)
    _held.clear()
    if not bpy.app.timers.is_registered(close_if_gone):
        bpy.app.timers.register(close_if_gone, first_interval=GONE_S, persistent=True)


def close_if_gone() -> None:
    """End session and backend if the add-on was disabled or replaced for good."""
    if not runtime.is_registered:
        if runtime.board.active:
            _log.warning("the add-on is gone; its jobs are resumed when it is enabled again")
        runtime.close()
