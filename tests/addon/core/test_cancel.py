import asyncio
from dataclasses import replace

from grpclib.const import Status
from grpclib.exceptions import GRPCError

from blender_addon.core import driver as driver_module
from blender_addon.core.journal import Journal
from blender_addon.core.records import RecordState
from blender_addon.core.session import Session
from layert2v.v1 import job_pb2
from support.requests_of_session import follow, make_record, run, state_is


def test_a_running_job_is_cancelled_at_the_backend(session, journal, backend):
    backend.script.hold = True
    session.submit(make_record(session), journal)
    follow(session, state_is(RecordState.RUNNING))

    session.cancel(make_record(session), journal)

    follow(session, state_is(RecordState.CANCELLED))
    assert backend.jobs["jobs/job0001"].proto.state == job_pb2.JOB_STATE_CANCELLED
    assert journal.records()["one"].state is RecordState.CANCELLED


def test_a_request_that_no_backend_has_is_cancelled_here(journal):
    session = Session("127.0.0.1:9")
    session.submit(make_record(session), journal)
    follow(session, lambda board: board.is_up is False and board.active)

    session.cancel(make_record(session), journal)

    follow(session, state_is(RecordState.CANCELLED))
    session.cancel(make_record(session), journal)
    session.close()
    assert journal.records()["one"].state is RecordState.CANCELLED


def test_a_cancel_that_is_not_heard_is_sent_until_it_is(session, journal, backend):
    backend.script.hold = True
    session.submit(make_record(session), journal)
    board = follow(session, state_is(RecordState.RUNNING))
    backend.script.refusals["CancelJob"].extend(
        [GRPCError(Status.INTERNAL, "a fault")] * 2 + [GRPCError(Status.UNAVAILABLE, "gone")]
    )

    session.cancel(board.jobs["one"].record, journal)

    follow(session, lambda board: bool(board.jobs["one"].record.error), board)
    assert "has not heard the cancel yet" in board.jobs["one"].record.error
    follow(session, state_is(RecordState.CANCELLED), board)
    assert board.jobs["one"].record.error == ""
    assert backend.jobs["jobs/job0001"].proto.state == job_pb2.JOB_STATE_CANCELLED


def test_a_cancel_while_the_link_is_down_reaches_the_backend_that_comes_back(
    session, journal, backend
):
    backend.script.hold = True
    session.submit(make_record(session), journal)
    board = follow(session, state_is(RecordState.RUNNING))
    backend.stop()

    session.cancel(board.jobs["one"].record, journal)
    follow(session, lambda board: bool(board.jobs["one"].record.error), board)
    assert journal.records()["one"].is_cancel_pending
    backend.start()

    follow(session, state_is(RecordState.CANCELLED), board)
    assert backend.jobs["jobs/job0001"].proto.state == job_pb2.JOB_STATE_CANCELLED


def test_a_cancel_outlives_the_blender_that_made_it(session, journal, backend):
    backend.script.hold = True
    session.submit(make_record(session), journal)
    board = follow(session, state_is(RecordState.RUNNING))
    backend.stop()
    session.cancel(board.jobs["one"].record, journal)
    follow(session, lambda board: board.jobs["one"].record.is_cancel_pending, board)
    session.close()
    backend.start()

    again = Session(session.address)
    again.attach([journal], "project")
    follow(again, state_is(RecordState.CANCELLED))
    again.close()

    assert backend.jobs["jobs/job0001"].proto.state == job_pb2.JOB_STATE_CANCELLED


def test_a_cancel_whose_creation_was_not_acknowledged_stops_the_job(session, journal, backend):
    backend.script.hold = True
    backend.script.refusals["CreateJob.reply"].extend([GRPCError(Status.UNAVAILABLE, "lost")] * 9)
    session.submit(make_record(session), journal)
    follow(session, lambda _: len(backend.script.create_requests) > 1)

    session.cancel(make_record(session), journal)

    follow(session, state_is(RecordState.CANCELLED))
    assert len(backend.jobs) == 1
    assert backend.jobs["jobs/job0001"].proto.state == job_pb2.JOB_STATE_CANCELLED


def test_a_cancel_of_a_job_that_is_gone_is_kept(session, journal, backend):
    backend.script.hold = True
    session.submit(make_record(session), journal)
    board = follow(session, state_is(RecordState.RUNNING))
    backend.script.refusals["CancelJob"].append(GRPCError(Status.NOT_FOUND, "deleted"))

    session.cancel(board.jobs["one"].record, journal)

    follow(session, state_is(RecordState.CANCELLED), board)


def test_a_take_that_was_made_in_spite_of_its_cancel_is_offered_not_imported(
    session, journal, backend
):
    backend.script.hold = True
    session.submit(make_record(session), journal)
    board = follow(session, state_is(RecordState.RUNNING))
    backend.stop()
    session.cancel(board.jobs["one"].record, journal)
    follow(session, lambda board: board.jobs["one"].record.is_cancel_pending, board)
    backend.finish()
    backend.start()

    follow(session, state_is(RecordState.CANCELLED), board)

    assert [view.record.request_id for view in board.offered] == ["one"]
    wanted = replace(board.jobs["one"].record, state=RecordState.FETCHING, is_import_asked=True)
    session.submit(wanted, journal)
    follow(session, state_is(RecordState.READY), board)
    assert board.jobs["one"].record.is_wanted


def test_a_cancel_that_comes_with_the_take_keeps_it_from_being_imported(session, journal):
    record = run(session, journal, make_record(session))

    session.cancel(record, journal)

    board = follow(session, lambda board: journal.records()["one"].is_cancel_asked)
    assert not journal.records()["one"].is_wanted
    assert not board.failed


def test_a_cancel_by_another_process_keeps_the_take_from_being_imported(session, journal, backend):
    backend.script.hold = True
    session.submit(make_record(session), journal)
    board = follow(session, state_is(RecordState.RUNNING))
    other = Journal(journal.folder, "other")
    other.append(replace(make_record(session), is_cancel_asked=True))

    backend.finish()

    follow(session, state_is(RecordState.READY), board)
    assert not board.jobs["one"].record.is_wanted


def test_a_cancel_that_nobody_can_be_told_is_journaled(journal):
    session = Session("nonsense")
    record = make_record(session, state=RecordState.RUNNING, job="jobs/a", address="elsewhere:1")

    session.cancel(record, journal)

    follow(session, lambda board: "one" in board.jobs)
    session.close()
    assert journal.records()["one"].is_cancel_pending


def test_a_cancel_while_the_take_is_fetched_stops_the_fetch_and_offers_the_take(
    session, journal, monkeypatch
):
    async def never(*_):
        await asyncio.Event().wait()

    monkeypatch.setattr(driver_module, "fetch_take", never)
    session.submit(make_record(session), journal)
    board = follow(session, state_is(RecordState.FETCHING))

    session.cancel(board.jobs["one"].record, journal)

    follow(session, state_is(RecordState.CANCELLED), board)
    assert board.offered


def test_a_cancel_is_sent_although_its_journal_cannot_be_written(
    session, journal, backend, monkeypatch
):
    backend.script.hold = True
    session.submit(make_record(session), journal)
    board = follow(session, state_is(RecordState.RUNNING))

    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(journal, "append", full)
    session.cancel(board.jobs["one"].record, journal)

    follow(session, state_is(RecordState.CANCELLED), board)
    assert backend.jobs["jobs/job0001"].proto.state == job_pb2.JOB_STATE_CANCELLED


def test_a_cancel_that_was_heard_is_settled_though_the_job_is_gone(session, journal, backend):
    backend.script.hold = True
    session.submit(make_record(session), journal)
    board = follow(session, state_is(RecordState.RUNNING))
    backend.script.keep_cancelling = True
    backend.script.refusals["WatchJob"].append(GRPCError(Status.NOT_FOUND, "deleted"))

    session.cancel(board.jobs["one"].record, journal)

    follow(session, state_is(RecordState.CANCELLED), board)
    assert not board.offered


def test_a_cancel_that_a_stopping_backend_cuts_off_is_sent_again(session, journal, backend):
    backend.script.hold = True
    session.submit(make_record(session), journal)
    board = follow(session, state_is(RecordState.RUNNING))
    backend.script.refusals["CancelJob"].append(GRPCError(Status.CANCELLED, "stopping"))

    session.cancel(board.jobs["one"].record, journal)

    follow(session, state_is(RecordState.CANCELLED), board)
    assert backend.jobs["jobs/job0001"].proto.state == job_pb2.JOB_STATE_CANCELLED
