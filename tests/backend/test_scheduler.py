import asyncio
import errno
from dataclasses import replace
from pathlib import Path
from typing import Any

import grpc
import pytest
from structlog.testing import capture_logs

from layert2v.v1 import artifact_pb2, job_pb2, system_pb2
from layert2v_backend import ledger as ledger_module
from layert2v_backend.artifacts import ArtifactStore
from layert2v_backend.errors import WorkerLost, WorkerNotStarted
from layert2v_backend.journal import Journal
from layert2v_backend.models import find_models
from layert2v_backend.process_engine import ProcessEngine, ProcessOptions
from layert2v_backend.scheduler import Scheduler
from layert2v_backend.settings import Settings
from layert2v_backend.worker_protocol import Failed, Stopped
from layert2v_domain.job import JobError, JobState
from support.journal_entries import SHOT
from support.running_backend import Client, running_backend
from support.scripted_engine import ScriptedEngine, disk_full
from support.waiting import HANG_S
from support.wire_shots import make_shot


def messages(client: Client, name: str) -> list[str]:
    return [event.message for event in client.events(name) if event.HasField("message")]


def test_a_lost_worker_costs_an_attempt_and_not_the_job(
    client: Client, engine: ScriptedEngine
) -> None:
    engine.endings = [WorkerLost("the worker died of signal 9")]

    job = client.wait(client.create(make_shot()).name)

    assert job.state == job_pb2.JOB_STATE_SUCCEEDED
    assert job.attempt == 2
    assert messages(client, job.name) == ["Attempt 1 was lost: the worker died of signal 9."]


def test_three_lost_workers_fail_the_job_with_the_reason(
    client: Client, engine: ScriptedEngine
) -> None:
    engine.endings = [WorkerLost("the worker died of signal 11")] * 3
    doomed = client.create(make_shot(seed=1))
    after = client.create(make_shot(seed=2))

    job = client.wait(doomed.name)

    assert job.state == job_pb2.JOB_STATE_FAILED
    assert job.error.reason == "WORKER_LOST"
    assert "signal 11" in job.error.message
    assert job.attempt == 3
    assert client.wait(after.name).state == job_pb2.JOB_STATE_SUCCEEDED


@pytest.mark.parametrize(
    "ending",
    [
        disk_full(),
        Failed(JobError("MODEL_DAMAGED", "transformer/x.safetensors is cut: install it again")),
    ],
)
def test_a_failure_is_told_with_its_remedy_and_publishes_nothing(
    client: Client, engine: ScriptedEngine, ending: Failed
) -> None:
    engine.endings = [ending]

    job = client.wait(client.create(make_shot()).name)

    assert job.state == job_pb2.JOB_STATE_FAILED
    assert (job.error.reason, job.error.message) == (ending.error.reason, ending.error.message)
    listed = client.artifacts.ListArtifacts(artifact_pb2.ListArtifactsRequest(parent=job.name))
    assert not listed.artifacts


def test_a_drained_backend_goes_on_at_its_next_start(settings: Settings) -> None:
    first = ScriptedEngine()
    first.may_go_on.clear()
    with running_backend(settings, first) as client:
        running, waiting = client.create(make_shot(seed=1)), client.create(make_shot(seed=2))
        cancelled = client.create(make_shot(seed=3))
        client.cancel(cancelled.name)
        assert first.is_holding.wait(HANG_S)
        seen = next(client.watch(running.name)).event

    with running_backend(settings, ScriptedEngine()) as client:
        job = client.wait(running.name)
        assert job.state == job_pb2.JOB_STATE_SUCCEEDED
        assert job.attempt == 2
        assert client.wait(waiting.name).state == job_pb2.JOB_STATE_SUCCEEDED
        assert client.get(cancelled.name).state == job_pb2.JOB_STATE_CANCELLED
        rest = client.events(running.name, seen.sequence)
        assert [event.sequence for event in rest] == list(range(2, job.last_sequence + 1))
        assert messages(client, running.name) == [
            "The backend was stopped, so the job starts again."
        ]


def test_a_watcher_of_a_stopping_backend_is_told_to_come_back(settings: Settings) -> None:
    engine = ScriptedEngine()
    engine.may_go_on.clear()
    with running_backend(settings, engine) as client:
        job = client.create(make_shot())
        stream = client.watch(job.name)
        next(stream)
        assert engine.is_holding.wait(HANG_S)

    with pytest.raises(grpc.RpcError) as caught:
        list(stream)

    assert caught.value.code() in (grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.CANCELLED)


def test_a_model_that_has_gone_fails_its_jobs_with_the_reason(settings: Settings) -> None:
    engine = ScriptedEngine()
    engine.may_go_on.clear()
    with running_backend(settings, engine) as client:
        job = client.create(make_shot())
        assert engine.is_holding.wait(HANG_S)

    without = settings.model_copy(update={"models_dirs": ()})
    with running_backend(without, ScriptedEngine()) as client:
        ended = client.wait(job.name)

    assert ended.error.reason == "UNKNOWN_MODEL"


def test_the_server_says_what_it_is_and_how_busy(client: Client, engine: ScriptedEngine) -> None:
    engine.may_go_on.clear()
    client.create(make_shot(seed=1))
    assert engine.is_holding.wait(HANG_S)
    client.create(make_shot(seed=2))

    info = client.system.GetServerInfo(system_pb2.GetServerInfoRequest())

    assert info.api_version == "layert2v.v1"
    assert (info.num_queued, info.num_running) == (1, 1)
    assert info.free_bytes > 0
    engine.may_go_on.set()


def test_models_are_listed_with_their_limits(client: Client) -> None:
    models = client.models.ListModels(system_pb2.ListModelsRequest()).models

    sketch = next(model for model in models if model.id == "sketch")
    assert [(size.width, size.height) for size in sketch.sizes] == [(64, 48), (96, 64)]
    assert list(sketch.num_frames) == [5, 9]
    assert sketch.fps == 8.0
    assert not sketch.HasField("vocabulary")
    tiny = next(model for model in models if model.id == "tiny")
    assert "a fox" in tiny.vocabulary.foregrounds
    assert "a pine forest" in tiny.vocabulary.backgrounds
    assert "standing still" in tiny.vocabulary.motions
    assert "the camera pans left" in tiny.vocabulary.cameras


def test_a_cancel_is_heard_while_the_journal_cannot_be_written(
    tmp_path: Path, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ledger_module, "_DISK_RETRY_S", 0.01)
    engine = ScriptedEngine()
    engine.may_go_on.clear()
    journal = Journal(tmp_path / "journal.sqlite3")
    store = ArtifactStore(tmp_path / "artifacts")
    catalogue = find_models(settings.models_dirs)
    scheduler = Scheduler(journal, store, catalogue, engine, settings)

    async def let_write(word: str) -> None:
        await scheduler._ledger.call(journal._db.execute, f"PRAGMA query_only = {word}")

    async def state_of_ended(job_id: str) -> JobState:
        async for event in scheduler.watch(job_id, 0):
            last = event.what
        assert isinstance(last, JobState)
        return last

    async def live() -> list[JobState]:
        await scheduler.start()
        running = await scheduler.create(SHOT, "a", None)
        waiting = await scheduler.create(SHOT, "b", None)
        await asyncio.to_thread(engine.is_holding.wait, HANG_S)
        await let_write("ON")
        answers = [await scheduler.cancel(job.id) for job in (running, waiting, waiting)]
        assert {answer.state for answer in answers} == {JobState.CANCELLING}
        listed = await scheduler.list_jobs(10, None)
        assert {job.state for _, job in listed} == {JobState.CANCELLING}
        await let_write("OFF")
        ended = [await state_of_ended(job.id) for job in (running, waiting)]
        await scheduler.drain()
        await scheduler.close()
        return ended

    ended = asyncio.run(asyncio.wait_for(live(), HANG_S))

    assert ended == [JobState.CANCELLED, JobState.CANCELLED]
    assert len(engine.tasks) == 1


def test_a_backend_that_cannot_write_starts_and_goes_on_once_it_can(
    tmp_path: Path, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ledger_module, "_DISK_RETRY_S", 0.01)
    journal = Journal(tmp_path / "journal.sqlite3")
    job, _ = journal.create(SHOT, "hash", 1.0)
    journal.begin_next(2.0)
    store = ArtifactStore(tmp_path / "artifacts")
    scheduler = Scheduler(
        journal, store, find_models(settings.models_dirs), ScriptedEngine(), settings
    )
    journal._db.execute("PRAGMA query_only = ON")

    async def live() -> None:
        await scheduler.start()
        assert (await scheduler.get(job.id)).state is JobState.RUNNING
        await scheduler._ledger.call(journal._db.execute, "PRAGMA query_only = OFF")
        events = [event async for event in scheduler.watch(job.id, 0)]
        assert events[-1].what is JobState.SUCCEEDED
        await scheduler.drain()
        await scheduler.close()

    asyncio.run(asyncio.wait_for(live(), HANG_S))


def test_a_starting_backend_ends_the_workers_that_its_folder_names(settings: Settings) -> None:
    engine = ScriptedEngine()
    with running_backend(settings, engine):
        assert engine.has_ended_former_workers


def test_a_job_that_kills_the_backend_each_time_fails_with_the_reason(
    tmp_path: Path, settings: Settings
) -> None:
    settings.state.mkdir(parents=True, mode=0o700)
    for _ in range(3):
        journal = Journal(settings.state / "journal.sqlite3")
        journal.recover(settings.max_lost_attempts, 1.0)
        if journal.list_jobs(1) == []:
            journal.create(SHOT, "hash", 1.0)
        assert journal.begin_next(2.0)
        journal.close()  # as a killed backend leaves it

    with running_backend(settings, ScriptedEngine()) as client:
        ((name, state),) = [
            (job.name, job.state) for job in client.jobs.ListJobs(job_pb2.ListJobsRequest()).jobs
        ]
        error = client.get(name).error

    assert state == job_pb2.JOB_STATE_FAILED
    assert "the backend died while the job ran" in error.message


def test_a_disk_that_is_full_for_a_while_delays_the_end_of_a_job(
    tmp_path: Path, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ledger_module, "_DISK_RETRY_S", 0.02)
    engine = ScriptedEngine()
    engine.may_go_on.clear()
    journal = Journal(tmp_path / "journal.sqlite3")
    catalogue = find_models(settings.models_dirs)
    store = ArtifactStore(tmp_path / "artifacts")
    scheduler = Scheduler(journal, store, catalogue, engine, settings)

    def limit_pages(pages: int) -> None:
        journal._db.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        (used,) = journal._db.execute("PRAGMA page_count").fetchone()
        journal._db.execute(f"PRAGMA max_page_count = {used + pages}")

    async def wait_for(state: JobState) -> None:
        while (await scheduler.get(job.id)).state is not state:
            await asyncio.sleep(0.005)

    async def live() -> None:
        nonlocal job
        await scheduler.start()
        long = replace(SHOT, num_frames=60)  # more rows than the last page has room for
        job = await scheduler.create(long, "hash", None)
        await wait_for(JobState.RUNNING)
        await scheduler._ledger.call(limit_pages, 0)
        with capture_logs() as logged:
            engine.may_go_on.set()
            while [line["event"] for line in logged].count("journal_waits") < 3:
                await asyncio.sleep(0.005)
        assert (await scheduler.get(job.id)).state is JobState.RUNNING
        await scheduler._ledger.call(limit_pages, 1000)
        await wait_for(JobState.SUCCEEDED)
        await scheduler.drain()
        await scheduler.close()

    job: Any = None
    asyncio.run(asyncio.wait_for(live(), HANG_S))


@pytest.mark.parametrize(
    ("ending", "reason"),
    [
        (WorkerNotStarted("no worker could be started: try again"), "WORKER_NOT_STARTED"),
        (PermissionError(errno.EACCES, "Permission denied", "/srv/x"), "INTERNAL"),
        (RuntimeError("can't start new thread /srv/x"), "INTERNAL"),
    ],
)
def test_a_fault_of_the_system_ends_one_job_and_the_door_goes_on(
    client: Client, engine: ScriptedEngine, ending: Exception, reason: str
) -> None:
    engine.endings = [ending]
    doomed, after = client.create(make_shot(seed=1)), client.create(make_shot(seed=2))

    job = client.wait(doomed.name)

    assert (job.state, job.error.reason) == (job_pb2.JOB_STATE_FAILED, reason)
    assert "try again" in job.error.message
    assert "/srv/x" not in job.error.message
    assert client.wait(after.name).state == job_pb2.JOB_STATE_SUCCEEDED


def test_a_worker_that_stops_without_being_asked_costs_an_attempt(
    client: Client, engine: ScriptedEngine
) -> None:
    engine.endings = [Stopped()]

    job = client.wait(client.create(make_shot()).name)

    assert (job.state, job.attempt) == (job_pb2.JOB_STATE_SUCCEEDED, 2)
    assert messages(client, job.name) == [
        "Attempt 1 was lost: the worker stopped without being asked."
    ]


def test_a_backend_whose_worker_cannot_be_started_serves_on(settings: Settings) -> None:
    missing = ProcessEngine(
        ProcessOptions(settings.state / "worker.log", command=("/nowhere/python",))
    )
    warming = settings.model_copy(update={"prewarm": True})

    with running_backend(warming, missing) as client:
        jobs = [client.wait(client.create(make_shot(seed=seed)).name) for seed in (1, 2)]

    for job in jobs:
        assert (job.state, job.error.reason) == (job_pb2.JOB_STATE_FAILED, "WORKER_NOT_STARTED")
        assert "/nowhere" not in job.error.message
