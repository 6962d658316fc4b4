# SPDX-License-Identifier: GPL-3.0-or-later
"""Drains the session's queue on the main thread; the only place where threads meet bpy.

`tick` is the timer's callback. Without a window timers never fire: tests and scripts call
`pump` themselves.
"""

import logging
import queue
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import bpy

from .. import compat
from ..core.board import JobView
from ..core.channels import NoFreeChannels
from ..core.events import RecordChanged
from ..core.journal import Journal
from ..core.paths import JOURNAL_NAME
from ..core.records import RecordState
from ..core.shots import layer_name
from ..core.takes import Take, UnreadableTake, load_take
from . import project, strips
from .runtime import runtime

BUSY_S = 0.25
"""Seconds between two ticks while jobs run."""
IDLE_S = 1.0
"""Seconds between two ticks otherwise."""
MOST_EVENTS = 200
"""Events taken in per tick, so that a tick stays short."""

_log = logging.getLogger(__name__)
_held: set[str] = set()
"""What Blender is doing that strips must not change under: saving, loading, rendering."""


def tick() -> float:
    """Pump, and say when to be called again."""
    # The border to Blender's timer: an error here would end the timer for good.
    try:
        pump()
    except Exception:  # noqa: BLE001
        _log.exception("the pump met a fault")
    return BUSY_S if runtime.board.active or runtime.board.ready else IDLE_S


def pump() -> bool:
    """Take in what the session has told, and import at most one take.

    Returns:
        Whether anything has changed.
    """
    changed = _drain()
    if runtime.board.ready and not is_held():
        changed = _import_next() or changed
    if changed:
        compat.redraw_sequencers()
    return changed


def is_held() -> bool:
    """Whether strips must not be touched now."""
    return bool(_held) or bpy.app.is_job_running("RENDER") or compat.is_user_dragging()


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


def _import_next() -> bool:
    for view in runtime.board.ready:
        scene = project.scene_of(view.record)
        if scene is not None:
            _settle(view, scene)
            return True
    return False


def _settle(view: JobView, scene: Any) -> None:
    """Import a ready take once, or say why not; either way it is no longer waiting."""
    record = view.record
    folder = Path(view.journal_folder)
    try:
        take = load_take(folder.joinpath(*record.take_folder.split("/")))
        if not strips.is_imported(scene, record.job):
            place(scene, take, record.layer_index, record.frame_start)
            view.notice = _notice(take, record.layer_index)
        settled = replace(record, state=RecordState.IMPORTED)
    except (UnreadableTake, NoFreeChannels) as error:
        settled = replace(record, state=RecordState.FAILED, error=str(error))
    runtime.board.apply(RecordChanged(settled, view.journal_folder))
    if runtime.session is not None:
        journal = Journal(folder / JOURNAL_NAME)
        runtime.session.mark(settled, journal, settled.state)


def _notice(take: Take, layer_index: int) -> str:
    """Say which foregrounds are in no frame of a take, and what the model did not know of it.

    A sentence a line; empty where there is nothing to say.
    """
    made = range(1, len(take.made.layers)) if layer_index < 0 else (layer_index,)
    empty = [layer_name(layer).capitalize() for layer in made if take.is_empty(layer)]
    lines = [
        f"{layer_name(each.layer_index).capitalize()}: {each.message}."
        for each in take.unknown_words
    ]
    if empty:
        verb = "is" if len(empty) == 1 else "are"
        lines.insert(
            0,
            f"{' and '.join(empty)} {verb} empty in take {take.number}: select the strip and "
            "regenerate it with a new seed, or say the prompt in other words.",
        )
    return "\n".join(lines)


def place(scene: Any, take: Take, layer_index: int, frame_start: int) -> None:
    """Put a take on the timeline, as one undo step: a new shot, or a layer in place."""
    compat.push_undo("Before LayerT2V")
    if layer_index < 0:
        strips.import_take(scene, take, frame_start)
    else:
        strips.show_take(scene, take, layer_index)
    compat.push_undo(f"LayerT2V: take {take.number}")


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
def _after_load(*_: Any) -> None:
    if runtime.session is None and any(map(project.has_unfinished, bpy.data.scenes)):
        connect_by_default()
    project.reattach()


def _connect_nowhere() -> None:
    """Stand in until the user interface says how to connect."""


connect_by_default: Callable[[], None] = _connect_nowhere
"""Connects as the preferences say; set by `ui`, which knows them."""

_HANDLERS = [
    ("save_pre", _hold("save")),
    ("save_post", _release("save")),
    ("save_post_fail", _release("save")),
    ("load_pre", _hold("load")),
    ("load_post", _release("load")),
    ("load_post_fail", _release("load")),
    ("render_init", _hold("render")),
    ("render_complete", _release("render")),
    ("render_cancel", _release("render")),
    ("load_post", _after_load),
]


def register(connect: Callable[[], None]) -> None:
    """Start the timer and watch for saving, loading and rendering."""
    global connect_by_default
    connect_by_default = connect
    for name, handler in _HANDLERS:
        getattr(bpy.app.handlers, name).append(handler)
    bpy.app.timers.register(tick, first_interval=IDLE_S, persistent=True)


def unregister() -> None:
    """Stop the timer and end what this Blender started."""
    if bpy.app.timers.is_registered(tick):
        bpy.app.timers.unregister(tick)
    for name, handler in _HANDLERS:
        handlers = getattr(bpy.app.handlers, name)
        if handler in handlers:
            handlers.remove(handler)
    _held.clear()
    runtime.close()
