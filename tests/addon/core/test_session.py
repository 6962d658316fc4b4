import asyncio
import json
import os
import shutil
import threading
from dataclasses import replace

import pytest
from grpclib.const import Status
from grpclib.exceptions import GRPCError

from blender_addon.core import fetch as fetch_module
from blender_addon.core import session as session_module
from blender_addon.core.board import Board, counted, duration
from blender_addon.core.events import FetchProgressed, Logged, ProgressChanged
from blender_addon.core.journal import Journal
from blender_addon.core.records import JobRecord, RecordState
from blender_addon.core.session import Session
from blender_addon.core.shots import new_shot, regenerated
from blender_addon.core.takes import UnreadableTake, load_take, takes_of_shot
from layert2v.v1 import job_pb2
from layert2v_client import ArtifactFormat, ArtifactKind, JobStage, Progress
from layert2v_words import UnknownWords
from support.fake_backend import FakeBackend, invalid_shot
from support.waiting import HANG_S

SHOT = new_shot("a beach", ("a red ball", "a blue ball"), num_frames=2)


@pytest.fixture
def backend(monkeypatch):
    monkeypatch.setattr(session_module, "RETRY_DELAY_S", 0.02)
    monkeypatch.setattr(session_module, "PROBE_WHEN_DOWN_S", 0.02)
    with FakeBackend() as running:
        yield running


@pytest.fixture
def session(backend):
    opened = Session(backend.address)
    yield opened
    opened.close()


@pytest.fixture
def journal(tmp_path):
    return Journal.of_media(tmp_path / "layert2v")


def make_record(session, request_id="one", **others):
    values = {
        "project_uid": "project",
        "scene_name": "Scene",
        "shot_uid": "shot",
        "asked": SHOT,
        "frame_start": 1,
        "shot_folder": "shot_1",
        "address": session.address,
        "fps": 8.0,
    }
    return JobRecord(request_id=request_id, **{**values, **others})


def follow(session, is_done, board=None):
    """Drain events into a board until something is so."""
    board = board or Board()
    while not is_done(board):
        board.apply(session.events.get(timeout=HANG_S))
    return board


def state_is(state, request_id="one"):
    return lambda board: request_id in board.jobs and board.jobs[request_id].record.state is state


def run(session, journal, record):
    session.submit(record, journal)
    board = follow(session, state_is(RecordState.READY, record.request_id))
    return board.jobs[record.request_id].record


def test_a_request_becomes_a_whole_take(session, journal, backend):
    backend.script.empty_frames = [0, 2]
    record = run(session, journal, make_record(session))

    take = load_take(journal.folder / record.take_folder)

    assert (take.number, take.job, take.shot_uid) == (1, "jobs/job0001", "shot")
    assert len(take.frames(ArtifactKind.FOREGROUND, 2, ArtifactFormat.PNG)) == 2
    assert take.asked == SHOT
    assert (take.made.width, take.made.height) == (96, 64)
    assert (take.num_empty(1), take.num_empty(2), take.num_empty(-1)) == (0, 2, 0)
    assert (take.folder / "manifest.json").is_file()
    assert not list(journal.folder.rglob("*.part"))


def test_the_journal_is_written_before_anything_is_sent(session, journal, backend):
    backend.script.refusals["CreateJob"].append(GRPCError(Status.UNAVAILABLE, "not yet"))
    session.submit(make_record(session), journal)
    follow(session, state_is(RecordState.READY))

    lines = [json.loads(line) for line in journal.path.read_bytes().splitlines()]

    assert [line["state"] for line in lines[:2]] == ["submitting", "queued"]
    assert lines[-1]["state"] == "ready"
    assert {request.request_id for request in backend.script.create_requests} == {"one"}


def test_a_reply_that_was_lost_does_not_make_a_second_job(session, journal, backend):
    backend.script.refusals["CreateJob.reply"].append(GRPCError(Status.UNAVAILABLE, "lost"))

    run(session, journal, make_record(session))

    assert len(backend.jobs) == 1
    assert len(backend.script.create_requests) == 2


def test_what_the_model_did_not_know_is_kept_with_the_take(session, journal, backend):
    backend.script.unknown_words.append(
        job_pb2.UnknownWords(layer_index=1, words="dragon", nearest=["a fox"], message="No dragon")
    )

    record = run(session, journal, make_record(session))

    take = load_take(journal.folder / record.take_folder)
    assert take.unknown_words == (UnknownWords(1, "dragon", ("a fox",), "No dragon"),)
    assert take.notice(1) == "No dragon."
    assert take.notice(0) == ""
    described = json.loads((take.folder / "take.json").read_text())
    del described["unknown_words"]
    (take.folder / "take.json").write_text(json.dumps(described))
    assert load_take(take.folder).unknown_words == ()


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


def test_a_take_is_fetched_through_broken_streams(session, journal, backend):
    backend.script.break_watches_after.extend([1, 1])
    backend.script.break_reads_after.extend([1, 0, 1, 2])
    backend.script.refusals["ListArtifacts"].append(GRPCError(Status.UNAVAILABLE, "gone"))
    backend.script.refusals["GetJob"].append(GRPCError(Status.UNAVAILABLE, "gone"))

    record = run(session, journal, make_record(session))

    load_take(journal.folder / record.take_folder)


def test_a_refused_shot_fails_with_its_fields(session, journal, backend):
    backend.script.refusals["CreateJob"].append(invalid_shot("shot.width", "97: choose 96."))
    session.submit(make_record(session), journal)

    board = follow(session, state_is(RecordState.FAILED))

    assert board.jobs["one"].record.error == "shot.width: 97: choose 96."
    assert board.failed
    assert journal.records()["one"].state is RecordState.FAILED


def test_a_job_that_fails_says_the_backends_sentence(session, journal, backend):
    backend.script.fail_with = job_pb2.JobError(reason="DISK_FULL", message="Full: free 2 GB.")
    session.submit(make_record(session), journal)

    board = follow(session, state_is(RecordState.FAILED))

    assert board.jobs["one"].record.error == "Full: free 2 GB."


def test_damaged_files_fail_and_a_second_try_succeeds(session, journal, backend):
    backend.script.wrong_files = 10**6
    session.submit(make_record(session), journal)
    board = follow(session, state_is(RecordState.FAILED))
    failed = board.jobs["one"].record
    assert "SHA-256" in failed.error
    assert "Nothing was imported" in failed.remedy

    backend.script.wrong_files = 0
    session.submit(replace(failed, state=RecordState.SUBMITTING), journal)

    follow(session, state_is(RecordState.READY))
    assert len(backend.jobs) == 1


def test_a_path_that_leaves_the_folder_fails_and_writes_nothing_outside(
    session, journal, backend, tmp_path
):
    backend.script.manifest_path = "../../../evil.json"
    session.submit(make_record(session), journal)

    board = follow(session, state_is(RecordState.FAILED))

    assert "cannot be written safely" in board.failed[0].record.error
    assert not list(tmp_path.parent.glob("evil.json"))


def test_a_folder_that_cannot_be_written_is_told(session, tmp_path):
    (tmp_path / "layert2v").write_text("a file where the folder should be")
    session.submit(make_record(session), Journal.of_media(tmp_path / "layert2v"))

    board = follow(session, state_is(RecordState.FAILED))

    assert "cannot be written" in board.failed[0].record.error
    assert board.failed[0].record.remedy


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


def test_a_kept_layer_is_linked_from_the_earlier_take(session, journal, backend):
    first = run(session, journal, make_record(session))
    backend.script.read_offsets.clear()
    kept = {0: first.job, 2: first.job}
    asked = regenerated(SHOT, 1, kept, prompt="a kite", seed=4, full_prompt="")

    second = run(session, journal, make_record(session, "two", asked=asked, layer_index=1))

    takes = takes_of_shot(journal.folder / "shot_1")
    assert [take.number for take in takes] == [1, 2]
    assert len(backend.script.read_offsets) == 3 * 2 + 1
    one, two = (take.frames(ArtifactKind.BACKGROUND, 0, ArtifactFormat.PNG) for take in takes)
    assert one[0].read_bytes() == two[0].read_bytes()
    assert second.take_folder.startswith("shot_1/take_0002_")


def test_a_take_that_is_there_is_not_fetched_again(session, journal, backend):
    record = run(session, journal, make_record(session))
    backend.script.read_offsets.clear()

    again = run(session, journal, replace(record, state=RecordState.FETCHING, take_folder=""))

    assert again.take_folder == record.take_folder
    assert not backend.script.read_offsets


def test_a_take_with_a_missing_file_is_unreadable(session, journal):
    record = run(session, journal, make_record(session))
    folder = journal.folder / record.take_folder
    next(folder.rglob("full_0001.png")).unlink()

    with pytest.raises(UnreadableTake, match=r"has lost 'full/png/full_0001\.png'"):
        load_take(folder)
    with pytest.raises(UnreadableTake, match=r"take\.json cannot be read"):
        load_take(journal.folder)
    assert takes_of_shot(folder.parent) == []


def test_an_address_that_makes_no_sense_is_told():
    session = Session("nonsense")

    board = follow(session, lambda board: board.is_up is False)
    session.close()
    session.close()
    session.probe()

    assert "nonsense" in board.message


def test_an_address_that_makes_no_sense_fails_requests(journal):
    session = Session("nonsense")
    session.submit(make_record(session), journal)

    board = follow(session, state_is(RecordState.FAILED))
    session.close()

    assert board.failed


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


def test_sentences_of_the_backend_are_kept_for_the_log():
    board = Board()
    for number in range(60):
        board.apply(Logged("one", f"line {number}"))
    board.apply(ProgressChanged("nobody's", Progress(JobStage.LOADING, 0, 0, 0.0, None)))
    board.apply(FetchProgressed("nobody's", 0.5))

    assert board.messages[0] == "line 10"
    assert len(board.messages) == 50
    assert not board.jobs


def test_a_cancel_that_is_not_heard_is_sent_until_it_is(session, journal, backend):
    backend.script.hold = True
    session.submit(make_record(session), journal)
    board = follow(session, state_is(RecordState.RUNNING))
    backend.script.refusals["CancelJob"].extend(
        [GRPCError(Status.INTERNAL, "a fault"), GRPCError(Status.UNAVAILABLE, "gone")]
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


def test_a_fault_of_the_add_on_itself_reaches_the_artist(session, journal, monkeypatch):
    def stumble(*_):
        raise RuntimeError("stumbled")

    monkeypatch.setattr(session_module, "fetch_take", stumble)
    session.submit(make_record(session), journal)

    board = follow(session, state_is(RecordState.FAILED))

    assert "RuntimeError: stumbled" in board.failed[0].record.error


def test_messages_of_a_job_are_passed_on(session, journal, backend):
    backend.script.hold = True
    session.submit(make_record(session), journal)
    board = follow(session, state_is(RecordState.RUNNING))
    backend.say("the worker was lost, beginning again")

    follow(session, lambda board: bool(board.messages), board)

    assert board.messages == ["the worker was lost, beginning again"]


def test_files_are_copied_where_there_are_no_hard_links(session, journal, backend, monkeypatch):
    first = run(session, journal, make_record(session))
    backend.script.read_offsets.clear()

    def no_links(*_):
        raise OSError("no hard links here")

    monkeypatch.setattr(fetch_module.os, "link", no_links)
    kept = {0: first.job, 2: first.job}
    asked = regenerated(SHOT, 1, kept, prompt="a kite", seed=4, full_prompt="")
    run(session, journal, make_record(session, "two", asked=asked, layer_index=1))

    assert len(backend.script.read_offsets) == 3 * 2 + 1


def test_a_fetch_goes_on_with_the_files_that_are_whole(session, journal, backend):
    gone = GRPCError(Status.NOT_FOUND, "gone")
    backend.script.refusals["ReadArtifact"].extend([None] * 5 + [gone])
    session.submit(make_record(session), journal)
    board = follow(session, state_is(RecordState.FAILED))
    num_read = len(backend.script.read_offsets)

    run(session, journal, replace(board.failed[0].record, state=RecordState.SUBMITTING))

    assert num_read > 1
    assert len(backend.script.read_offsets) < num_read + 6 * 2 + 1


def test_a_fetch_has_a_folder_of_its_own_and_uses_what_another_process_has(
    session, journal, backend, monkeypatch
):
    gone = GRPCError(Status.NOT_FOUND, "gone")
    backend.script.refusals["ReadArtifact"].extend([None] * 5 + [gone])
    session.submit(make_record(session), journal)
    board = follow(session, state_is(RecordState.FAILED))
    num_read = len(backend.script.read_offsets)
    (left,) = journal.folder.rglob("*-*.part")
    monkeypatch.setattr(fetch_module, "PROCESS", "anotherone")

    run(session, journal, replace(board.failed[0].record, state=RecordState.SUBMITTING))

    assert left.is_dir()
    assert len(backend.script.read_offsets) < num_read + 6 * 2 + 1
    assert len(takes_of_shot(journal.folder / "shot_1")) == 1


def test_two_processes_that_fetch_one_take_end_with_one_take(
    session, journal, backend, monkeypatch
):
    rename = fetch_module.os.replace

    def be_slower(source, target):
        if str(source).endswith(".part") and "take_" in str(target):
            shutil.copytree(source, target)  # as the other process has just done
        rename(source, target)

    monkeypatch.setattr(fetch_module.os, "replace", be_slower)

    record = run(session, journal, make_record(session))

    assert len(takes_of_shot(journal.folder / "shot_1")) == 1
    load_take(journal.folder / record.take_folder)
    assert not list(journal.folder.rglob("*.part"))


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

    monkeypatch.setattr(session_module, "fetch_take", never)
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


def test_the_later_of_two_takes_of_a_job_goes_when_numbers_have_moved(
    session, journal, backend, monkeypatch
):
    rename = fetch_module.os.replace

    def be_slower(source, target):
        if "take_0007" in str(target):
            shutil.copytree(source, str(target).replace("take_0007", "take_0006"))
        rename(source, target)

    monkeypatch.setattr(fetch_module, "next_take_number", lambda _: 7)
    monkeypatch.setattr(fetch_module.os, "replace", be_slower)

    record = run(session, journal, make_record(session))

    assert "take_0006" in record.take_folder
    assert len(takes_of_shot(journal.folder / "shot_1")) == 1


def test_a_part_that_nobody_has_touched_for_a_day_is_removed(session, journal, backend):
    name = f"{fetch_module.short_job('jobs/job0001')}-gone-one.part"
    part = journal.folder / "shot_1" / name
    part.mkdir(parents=True)
    os.utime(part, (0, 0))

    run(session, journal, make_record(session))

    assert not part.exists()
