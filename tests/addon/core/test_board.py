from dataclasses import replace

import pytest

from blender_addon.core.board import Board, counted, duration
from blender_addon.core.events import FetchProgressed, ProgressChanged, RecordChanged
from blender_addon.core.records import RecordState
from layert2v_client import JobStage, Progress
from support.requests_of_session import follow, make_record, recorded


def test_the_caption_says_stage_steps_and_time_left(session, journal, backend):
    backend.script.hold = True
    session.submit(make_record(session), journal)
    board = follow(
        session, lambda board: "one" in board.jobs and board.jobs["one"].progress is not None
    )
    view = board.jobs["one"]
    view.progress = Progress(JobStage.DENOISING, 3, 24, 0.5, 75.0)

    assert view.caption == "denoising 3/24, 1 min 15 s left"
    assert view.fraction == pytest.approx(0.475)
    view.progress = Progress(JobStage.LOADING, 0, 0, 0.0, None)
    assert view.caption == "loading"
    view.record = replace(view.record, state=RecordState.SUBMITTING)
    assert view.caption == "waiting for the backend"
    view.record = replace(view.record, state=RecordState.FETCHING)
    view.fetched = 0.5
    assert view.fraction == pytest.approx(0.975)
    view.record = replace(view.record, state=RecordState.READY)
    assert (view.fraction, view.caption) == (1.0, "ready")


def test_counts_are_written_with_their_verb():
    assert [counted(n, "job") for n in (0, 1, 2)] == ["0 jobs are", "1 job is", "2 jobs are"]


def test_durations_are_written_for_people():
    assert [duration(s) for s in (-1, 0.6, 59.6, 61)] == ["0 s", "1 s", "1 min 0 s", "1 min 1 s"]


def test_progress_of_a_request_that_is_not_known_is_passed_over():
    board = Board()

    board.apply(ProgressChanged("nobody's", Progress(JobStage.LOADING, 0, 0, 0.0, None)))
    board.apply(FetchProgressed("nobody's", 0.5))

    assert not board.jobs


def test_an_older_record_changes_nothing():
    board = Board()
    board.apply(RecordChanged(recorded(state=RecordState.READY, revision=4), "/media"))

    board.apply(RecordChanged(recorded(state=RecordState.RUNNING, revision=3), "/media"))

    assert [view.record.state for view in board.ready] == [RecordState.READY]


def test_the_model_is_there_once_a_job_has_come_further_than_loading():
    board = Board()
    board.apply(RecordChanged(recorded(state=RecordState.RUNNING), "/media"))
    told = [board.is_working]

    for stage in (JobStage.UNKNOWN, JobStage.LOADING, JobStage.ENCODING):
        board.apply(ProgressChanged("one", Progress(stage, 0, 0, 0.0, None)))
        told.append(board.is_working)

    assert told == [False, False, False, True]


def test_a_take_is_listed_until_its_notice_is_dismissed():
    board = Board()
    board.apply(RecordChanged(recorded(state=RecordState.IMPORTED), "/media"))
    board.jobs["one"].notice = "The foreground is missing in 2 of 9 frames."

    assert board.noticed == [board.jobs["one"]]
    board.jobs["one"].notice = ""
    assert not board.noticed
