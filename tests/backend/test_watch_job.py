import errno
import uuid
from concurrent.futures import ThreadPoolExecutor

import grpc
import pytest

from layert2v.v1 import job_pb2
from layert2v_backend import queries, watching
from layert2v_backend.convert import results
from layert2v_backend.jobs import JobEvent
from layert2v_backend.journal import Journal
from layert2v_backend.settings import Settings
from support.running_backend import Client, running_backend
from support.scripted_engine import NUM_STEPS, ScriptedEngine
from support.waiting import HANG_S
from support.wire_shots import make_shot
from support.wire_status import refusal_of


def test_events_are_gapless_from_1_and_end_with_the_terminal_state(client: Client) -> None:
    job = client.create(make_shot())

    events = client.events(job.name)

    assert [event.sequence for event in events] == list(range(1, len(events) + 1))
    states = [event.state for event in events if event.HasField("state")]
    assert states == [
        job_pb2.JOB_STATE_QUEUED,
        job_pb2.JOB_STATE_RUNNING,
        job_pb2.JOB_STATE_SUCCEEDED,
    ]
    assert client.get(job.name).last_sequence == events[-1].sequence


def test_progress_grows_to_its_end(client: Client) -> None:
    job = client.create(make_shot())

    progress = [event.progress for event in client.events(job.name) if event.HasField("progress")]

    assert [item.step for item in progress] == [0, *range(1, NUM_STEPS + 1)]
    fractions = [item.fraction for item in progress]
    assert fractions == sorted(fractions)
    assert progress[-1].stage == job_pb2.JOB_STAGE_DENOISING
    assert progress[-1].eta_s >= 0


@pytest.mark.parametrize("after", [0, 1, 3, 7])
def test_watching_resumes_after_any_sequence(client: Client, after: int) -> None:
    job = client.create(make_shot())
    everything = client.events(job.name)

    assert client.events(job.name, after) == everything[after:]


def test_watching_an_ended_job_from_its_last_event_ends_at_once(client: Client) -> None:
    job = client.wait(client.create(make_shot()).name)

    assert client.events(job.name, job.last_sequence) == []


def test_a_watcher_that_left_resumes_without_gap(client: Client, engine: ScriptedEngine) -> None:
    engine.may_go_on.clear()
    job = client.create(make_shot())
    stream = client.watch(job.name)
    first = [next(stream).event for _ in range(3)]
    stream.cancel()

    engine.may_go_on.set()
    rest = client.events(job.name, first[-1].sequence)

    sequences = [event.sequence for event in [*first, *rest]]
    assert sequences == list(range(1, len(sequences) + 1))


def test_all_watchers_see_the_same(client: Client, engine: ScriptedEngine) -> None:
    engine.may_go_on.clear()
    job = client.create(make_shot())

    with ThreadPoolExecutor(8) as pool:
        watching = [pool.submit(client.events, job.name) for _ in range(8)]
        assert engine.is_holding.wait(HANG_S)
        engine.may_go_on.set()
        histories = [future.result() for future in watching]

    assert all(history == histories[0] for history in histories)


def test_events_are_read_and_serialized_once_for_all_watchers(
    client: Client, engine: ScriptedEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[int] = []
    made: list[JobEvent] = []
    events, event_to_proto = Journal.events, results.event_to_proto

    def read(self: Journal, job_id: str, after: int, limit: int) -> list[JobEvent]:
        asked.append(after)
        return events(self, job_id, after, limit)

    def convert(event: JobEvent) -> job_pb2.JobEvent:
        made.append(event)
        return event_to_proto(event)

    monkeypatch.setattr(Journal, "events", read)
    monkeypatch.setattr(results, "event_to_proto", convert)
    engine.may_go_on.clear()
    job = client.create(make_shot())
    assert engine.is_holding.wait(HANG_S)
    streams = [client.watch(job.name) for _ in range(40)]
    for stream in streams:
        next(stream)
    asked.clear()

    engine.may_go_on.set()
    histories = [[response.event for response in stream] for stream in streams]

    assert all(history == histories[0] for history in histories)
    assert histories[0][-1].state == job_pb2.JOB_STATE_SUCCEEDED
    assert len(asked) <= len(histories[0]) + 2
    assert len(made) == len(histories[0]) + 1


def test_a_watcher_that_is_far_behind_reads_the_journal_and_misses_nothing(
    client: Client, engine: ScriptedEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(watching, "READ_AT_ONCE", 2)
    monkeypatch.setattr(queries, "READ_AT_ONCE", 2)
    engine.may_go_on.clear()
    job = client.create(make_shot())
    assert engine.is_holding.wait(HANG_S)
    first = client.watch(job.name)
    next(first)

    engine.may_go_on.set()
    late, rest = client.events(job.name), [response.event for response in first]

    assert [event.sequence for event in late] == list(range(1, len(late) + 1))
    assert late[1:] == rest


def test_what_reading_raises_ends_the_watch_and_the_next_one_works(
    client: Client, engine: ScriptedEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    engine.may_go_on.clear()
    job = client.create(make_shot())
    assert engine.is_holding.wait(HANG_S)

    def fail(self: Journal, job_id: str, after: int, limit: int) -> None:
        raise OSError(errno.EIO, "Input/output error")

    with monkeypatch.context() as patch:
        patch.setattr(Journal, "events", fail)
        assert refusal_of(client.watch, job.name).code is grpc.StatusCode.INTERNAL
    engine.may_go_on.set()

    assert client.events(job.name)[-1].state == job_pb2.JOB_STATE_SUCCEEDED


def test_watching_ends_with_ok_at_its_limit(settings: Settings, engine: ScriptedEngine) -> None:
    engine.may_go_on.clear()

    with running_backend(settings.model_copy(update={"watch_limit_s": 0.5}), engine) as client:
        job = client.create(make_shot())
        events = client.events(job.name)

        assert events
        assert not any(event.state == job_pb2.JOB_STATE_SUCCEEDED for event in events)


@pytest.mark.parametrize(
    ("name", "after", "code"),
    [
        ("jobs/" + "0" * 16, 0, grpc.StatusCode.NOT_FOUND),
        ("jobs/../../etc/passwd", 0, grpc.StatusCode.INVALID_ARGUMENT),
        ("C:\\jobs", 0, grpc.StatusCode.INVALID_ARGUMENT),
        ("jobs/" + "a" * 300, 0, grpc.StatusCode.INVALID_ARGUMENT),
        ("", 0, grpc.StatusCode.INVALID_ARGUMENT),
    ],
)
def test_watching_what_is_not_there_is_refused(
    client: Client, name: str, after: int, code: grpc.StatusCode
) -> None:
    with pytest.raises(grpc.RpcError) as caught:
        client.events(name, after)

    assert caught.value.code() is code


@pytest.mark.parametrize("after", [-1, 10_000])
def test_watching_from_an_impossible_sequence_is_refused(client: Client, after: int) -> None:
    job = client.create(make_shot())

    with pytest.raises(grpc.RpcError) as caught:
        client.events(job.name, after)

    assert caught.value.code() is grpc.StatusCode.INVALID_ARGUMENT
    assert str(after) in str(caught.value.details())


def test_jobs_are_listed_newest_first_in_pages(client: Client) -> None:
    names = [client.create(make_shot(), str(uuid.uuid4())).name for _ in range(5)]

    first = client.jobs.ListJobs(job_pb2.ListJobsRequest(page_size=3))
    second = client.jobs.ListJobs(
        job_pb2.ListJobsRequest(page_size=3, page_token=first.next_page_token)
    )

    assert [job.name for job in [*first.jobs, *second.jobs]] == names[::-1]
    assert second.next_page_token == ""


@pytest.mark.parametrize(
    "request_", [{"page_token": "!!"}, {"page_token": "MTphYmM="}, {"page_size": -1}]
)
def test_a_malformed_page_is_refused(client: Client, request_: dict[str, object]) -> None:
    with pytest.raises(grpc.RpcError) as caught:
        client.jobs.ListJobs(job_pb2.ListJobsRequest(**request_))  # type: ignore[arg-type]

    assert caught.value.code() is grpc.StatusCode.INVALID_ARGUMENT
