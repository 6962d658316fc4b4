import threading

import pytest

from blender_addon.core import session as session_module
from blender_addon.core.records import RecordState
from blender_addon.core.session import Session
from support.requests_of_session import follow, make_record, run, state_is
from support.waiting import HANG_S


def test_the_models_are_told_when_the_backend_answers(session):
    board = follow(session, lambda board: board.is_up is True)

    assert board.model("").id == "tiny"
    assert board.model("none") is None
    assert board.info.version == "0.1.0"


@pytest.fixture
def loading(backend):
    """The backend while its model loads; a session asks at once when it is opened."""
    backend.script.is_model_loaded = False


def test_a_model_that_has_loaded_is_noticed_soon(loading, session, backend):
    board = follow(session, lambda board: board.is_up is True)
    assert not board.info.is_model_loaded

    backend.script.is_model_loaded = True

    follow(session, lambda board: board.info.is_model_loaded, board)


def test_a_backend_that_goes_and_comes_is_noticed(session, backend):
    board = follow(session, lambda board: board.is_up is True)
    backend.stop()
    session.probe()
    follow(session, lambda board: board.is_up is False, board)
    assert "No backend answers" in board.message or "lost" in board.message
    assert "Start the backend" in board.remedy

    backend.start()

    follow(session, lambda board: board.is_up is True, board)


def test_unfinished_requests_are_taken_up_again(session, journal, backend):
    backend.script.hold = True
    session.submit(make_record(session), journal)
    follow(session, state_is(RecordState.RUNNING))
    session.close()
    backend.finish()
    journal.append(make_record(session, "other", project_uid="another project"))
    journal.append(make_record(session, "far", address="elsewhere:1"))
    journal.append(make_record(session, "waiting", state=RecordState.READY))

    again = Session(session.address)
    again.attach([journal], "project")
    board = follow(again, state_is(RecordState.READY))
    follow(again, state_is(RecordState.READY, "waiting"), board)
    again.close()

    assert set(board.jobs) == {"one", "waiting"}
    assert len(backend.jobs) == 1


def test_what_the_main_thread_did_is_noted(session, journal):
    record = run(session, journal, make_record(session))

    session.mark(record, journal, RecordState.IMPORTED)

    follow(session, state_is(RecordState.IMPORTED))
    assert journal.records()["one"].state is RecordState.IMPORTED


def test_the_same_request_is_not_run_twice_at_once(session, journal, backend):
    backend.script.hold = True
    session.submit(make_record(session), journal)
    session.submit(make_record(session), journal)
    follow(session, state_is(RecordState.RUNNING))
    backend.finish()
    follow(session, state_is(RecordState.READY))

    assert len(backend.script.create_requests) == 1


def test_an_address_that_makes_no_sense_is_told():
    session = Session("nonsense")

    board = follow(session, lambda board: board.is_up is False)
    session.close()
    session.close()
    session.probe()

    assert "nonsense" in board.message


def test_commands_before_the_thread_is_ready_neither_block_nor_get_lost(
    backend, journal, monkeypatch
):
    may_connect, connect = threading.Event(), session_module.Client.connect

    def connect_late(*arguments, **named):
        may_connect.wait(HANG_S)
        return connect(*arguments, **named)

    monkeypatch.setattr(session_module.Client, "connect", connect_late)
    session = Session(backend.address)
    session.submit(make_record(session), journal)
    session.probe()
    assert not backend.jobs

    may_connect.set()

    follow(session, state_is(RecordState.READY))
    session.close()


def test_a_command_that_comes_before_the_loop_runs_is_kept(backend, journal, monkeypatch):
    may_run, run_at_once = threading.Event(), Session._run

    def run_late(session):
        may_run.wait(HANG_S)
        run_at_once(session)

    monkeypatch.setattr(Session, "_run", run_late)
    session = Session(backend.address)
    session.submit(make_record(session), journal)

    may_run.set()

    follow(session, state_is(RecordState.READY))
    session.close()
