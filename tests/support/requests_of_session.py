"""Requests that a session runs against the fake backend, for tests of the add-on's core."""

from collections.abc import Callable
from typing import Any

from blender_addon.core.board import Board
from blender_addon.core.journal import Journal
from blender_addon.core.records import JobRecord, RecordState
from blender_addon.core.session import Session
from blender_addon.core.shots import new_shot
from support.waiting import HANG_S

SHOT = new_shot("a beach", ("a red ball", "a blue ball"), num_frames=2)


def make_record(session: Session, request_id: str = "one", **others: Any) -> JobRecord:
    """Ask for `SHOT`, or for what `others` say."""
    return recorded(request_id, **{"address": session.address, **others})


def recorded(request_id: str = "one", **others: Any) -> JobRecord:
    """Give a record of a request for `SHOT`, or for what `others` say."""
    values = {
        "project_uid": "project",
        "scene_name": "Scene",
        "shot_uid": "shot",
        "asked": SHOT,
        "frame_start": 1,
        "shot_folder": "shot_1",
        "address": "127.0.0.1:1",
        "fps": 8.0,
    }
    return JobRecord(request_id=request_id, **{**values, **others})


def follow(session: Session, is_done: Callable[[Board], bool], board: Board | None = None) -> Board:
    """Drain events into a board until a condition holds."""
    board = board or Board()
    while not is_done(board):
        board.apply(session.events.get(timeout=HANG_S))
    return board


def state_is(state: RecordState, request_id: str = "one") -> Callable[[Board], bool]:
    """Give the condition that a request has come to a state."""
    return lambda board: request_id in board.jobs and board.jobs[request_id].record.state is state


def run(session: Session, journal: Journal, record: JobRecord) -> JobRecord:
    """Run a request until its take is ready."""
    session.submit(record, journal)
    board = follow(session, state_is(RecordState.READY, record.request_id))
    return board.jobs[record.request_id].record
