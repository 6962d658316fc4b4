import uuid
from concurrent.futures import ThreadPoolExecutor

import grpc
import pytest

from layert2v.v1 import job_pb2
from layert2v_backend.settings import Settings
from support.running_backend import Client, running_backend
from support.scripted_engine import NUM_STEPS, ScriptedEngine
from support.waiting import HANG_S
from support.wire_shots import make_shot


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


def test_watching_ends_with_ok_at_its_limit(settings: Settings, engine: ScriptedEngine) -> None:
    engine.may_go_on.clear()

    with running_backend(settings.model_copy(update={"watch_limit_s": 0.1}), engine) as client:
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
