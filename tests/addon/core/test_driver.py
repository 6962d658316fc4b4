import json

from grpclib.const import Status
from grpclib.exceptions import GRPCError

from blender_addon.core import driver as driver_module
from blender_addon.core.journal import Journal
from blender_addon.core.records import RecordState
from blender_addon.core.session import Session
from blender_addon.core.takes import load_take
from layert2v.v1 import job_pb2
from layert2v_client import ArtifactFormat, ArtifactKind
from layert2v_words import UnknownWords
from support.fake_backend import invalid_shot
from support.requests_of_session import SHOT, follow, make_record, run, state_is


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


def test_a_folder_that_cannot_be_written_is_told(session, tmp_path):
    (tmp_path / "layert2v").write_text("a file where the folder should be")
    session.submit(make_record(session), Journal.of_media(tmp_path / "layert2v"))

    board = follow(session, state_is(RecordState.FAILED))

    assert "cannot be written" in board.failed[0].record.error
    assert board.failed[0].record.remedy


def test_an_address_that_makes_no_sense_fails_requests(journal):
    session = Session("nonsense")
    session.submit(make_record(session), journal)

    board = follow(session, state_is(RecordState.FAILED))
    session.close()

    assert board.failed


def test_a_fault_of_the_add_on_itself_reaches_the_artist(session, journal, monkeypatch):
    def stumble(*_):
        raise RuntimeError("stumbled")

    monkeypatch.setattr(driver_module, "fetch_take", stumble)
    session.submit(make_record(session), journal)

    board = follow(session, state_is(RecordState.FAILED))

    assert "RuntimeError: stumbled" in board.failed[0].record.error


def test_a_message_of_the_backend_leaves_the_request_as_it_is(session, journal, backend):
    backend.script.hold = True
    session.submit(make_record(session), journal)
    follow(session, state_is(RecordState.RUNNING))

    backend.say("the worker was lost, beginning again")
    backend.finish()

    follow(session, state_is(RecordState.READY))


def test_calls_that_a_stopping_backend_cuts_off_are_repeated(session, journal, backend):
    for rpc in ("CreateJob", "WatchJob", "GetJob", "ListArtifacts", "ReadArtifact"):
        backend.script.refusals[rpc].append(GRPCError(Status.CANCELLED, "stopping"))

    run(session, journal, make_record(session))

    assert len(backend.jobs) == 1
