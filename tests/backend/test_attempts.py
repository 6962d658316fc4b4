"""How attempts end where the journal does not take their end at once, or not at all."""

import asyncio
import errno
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import aclosing
from dataclasses import replace
from pathlib import Path
from typing import TypeVar

import pytest
from structlog.testing import capture_logs

from layert2v.v1 import artifact_pb2, job_pb2
from layert2v_backend import ledger as ledger_module
from layert2v_backend import scheduler as scheduler_module
from layert2v_backend.artifacts import ArtifactStore
from layert2v_backend.jobs import Job, JobEvent
from layert2v_backend.journal import Journal
from layert2v_backend.models import find_models
from layert2v_backend.scheduler import Scheduler
from layert2v_backend.settings import Settings
from layert2v_backend.worker_protocol import Finished, StageProgress, Task, WorkerMessage
from layert2v_domain.job import JobState, Progress
from support.journal_entries import FRAME, REPORT, SHOT
from support.running_backend import Client, running_backend
from support.scripted_engine import ScriptedEngine
from support.waiting import HANG_S
from support.wire_shots import make_shot

T = TypeVar("T")


def scheduler_of(folder: Path, settings: Settings, engine: ScriptedEngine) -> Scheduler:
    journal = Journal(folder / "journal.sqlite3")
    store = ArtifactStore(folder / "artifacts")
    return Scheduler(journal, store, find_models(settings.models_dirs), engine, settings)


def run(scheduler: Scheduler, live: Callable[[], Awaitable[T]]) -> T:
    async def live_and_end() -> T:
        lived = await live()
        await scheduler.drain()
        await scheduler.close()
        return lived

    return asyncio.run(asyncio.wait_for(live_and_end(), HANG_S))


async def let_write(scheduler: Scheduler, word: str) -> None:
    """Let the journal's disk take what is written, `ON`, or refuse it, `OFF`."""
    is_refused = "OFF" if word == "ON" else "ON"
    await scheduler._ledger.call(
        scheduler._journal._db.execute, f"PRAGMA query_only = {is_refused}"
    )


async def waits_for_disk(engine: ScriptedEngine) -> None:
    """Let the held task end, and wait until the journal waits for its disk."""
    with capture_logs() as logged:
        engine.may_go_on.set()
        while "journal_waits" not in [line["event"] for line in logged]:
            await asyncio.sleep(0.001)


def test_a_cancel_is_kept_that_comes_while_a_finished_take_waits_for_the_disk(
    tmp_path: Path, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ledger_module, "_DISK_RETRY_S", 0.01)
    engine = ScriptedEngine()
    engine.may_go_on.clear()
    scheduler = scheduler_of(tmp_path, settings, engine)

    async def live() -> list[JobState | Progress | str]:
        await scheduler.start()
        job = await scheduler.create(SHOT, "a", None)
        await asyncio.to_thread(engine.is_holding.wait, HANG_S)
        await let_write(scheduler, "OFF")
        await waits_for_disk(engine)
        answer = await scheduler.cancel(job.id)
        assert answer.state is JobState.CANCELLING
        await let_write(scheduler, "ON")
        return [event.what async for event in scheduler.watch(job.id, 0)]

    assert run(scheduler, live)[-2:] == [JobState.CANCELLING, JobState.CANCELLED]


@pytest.mark.parametrize(
    "finished",
    [
        Finished((FRAME, FRAME), REPORT, {}),
        Finished((replace(FRAME, layer_index=2**40),), REPORT, {}),
        Finished((FRAME,), replace(REPORT, worst_frame=2**40), {}),
    ],
)
def test_a_take_that_cannot_be_written_and_read_back_fails_its_job_alone(
    client: Client, engine: ScriptedEngine, finished: Finished
) -> None:
    engine.endings = [finished]
    doomed, after = client.create(make_shot(seed=1)), client.create(make_shot(seed=2))

    assert client.wait(after.name).state == job_pb2.JOB_STATE_SUCCEEDED
    job = client.wait(doomed.name)

    assert (job.state, job.error.reason) == (job_pb2.JOB_STATE_FAILED, "INTERNAL")
    listed = client.artifacts.ListArtifacts(artifact_pb2.ListArtifactsRequest(parent=job.name))
    assert not listed.artifacts


def test_a_job_whose_row_is_damaged_while_it_runs_fails_alone(
    tmp_path: Path, settings: Settings
) -> None:
    engine = ScriptedEngine()
    engine.may_go_on.clear()
    scheduler = scheduler_of(tmp_path, settings, engine)

    async def live() -> JobEvent:
        await scheduler.start()
        doomed = await scheduler.create(SHOT, "a", None)
        await asyncio.to_thread(engine.is_holding.wait, HANG_S)
        after = await scheduler.create(SHOT, "b", None)
        damage = ("UPDATE job SET shot = '{' WHERE id = ?", (doomed.id,))
        await scheduler._ledger.call(scheduler._journal._db.execute, *damage)
        engine.may_go_on.set()
        told = [event.what async for event in scheduler.watch(after.id, 0)]
        assert told[-1] is JobState.SUCCEEDED
        return (await scheduler._ledger.read_events(doomed.id, 0, 100))[-1]

    assert run(scheduler, live).what is JobState.FAILED


class OneWordShort(ScriptedEngine):
    """An engine whose first task ends without a last word."""

    async def run(self, task: Task) -> AsyncGenerator[WorkerMessage, None]:
        async with aclosing(super().run(task)) as messages:
            async for message in messages:
                if task.attempt > 1 or isinstance(message, StageProgress):
                    yield message


def test_an_engine_that_ends_without_a_last_word_costs_an_attempt(settings: Settings) -> None:
    with running_backend(settings, OneWordShort()) as client:
        job = client.wait(client.create(make_shot()).name)
        told = [event.message for event in client.events(job.name) if event.message]

    assert (job.state, job.attempt) == (job_pb2.JOB_STATE_SUCCEEDED, 2)
    assert told == ["Attempt 1 was lost: the engine ended without a last word."]


def test_a_take_is_published_although_the_store_cannot_count_it(
    client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object) -> None:
        raise PermissionError(errno.EACCES, "Permission denied")

    monkeypatch.setattr(ArtifactStore, "settle", refuse)

    assert client.wait(client.create(make_shot()).name).state == job_pb2.JOB_STATE_SUCCEEDED


def test_what_an_attempt_says_that_is_over_is_refused_and_the_next_one_runs(
    tmp_path: Path, settings: Settings
) -> None:
    engine = ScriptedEngine()
    engine.may_go_on.clear()
    scheduler = scheduler_of(tmp_path, settings, engine)

    async def live() -> Job:
        await scheduler.start()
        job = await scheduler.create(SHOT, "a", None)
        await asyncio.to_thread(engine.is_holding.wait, HANG_S)
        await scheduler._ledger.call(scheduler._journal.lose, job.id, 1, "a test", 3, 1.0)
        engine.may_go_on.set()
        events = [event.what async for event in scheduler.watch(job.id, 0)]
        assert events[-1] is JobState.SUCCEEDED
        return await scheduler.get(job.id)

    assert run(scheduler, live).attempt == 2


def test_a_take_that_waits_for_the_disk_is_left_to_the_next_start(
    tmp_path: Path, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ledger_module, "_DISK_RETRY_S", 0.01)
    engine = ScriptedEngine()
    engine.may_go_on.clear()
    scheduler = scheduler_of(tmp_path, settings, engine)

    async def live() -> Job:
        await scheduler.start()
        job = await scheduler.create(SHOT, "a", None)
        await asyncio.to_thread(engine.is_holding.wait, HANG_S)
        await let_write(scheduler, "OFF")
        await waits_for_disk(engine)
        await scheduler.drain()
        return await scheduler.get(job.id)

    assert run(scheduler, live).state is JobState.RUNNING


def test_work_that_fails_does_not_keep_the_backend_from_stopping(
    tmp_path: Path, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    def stumble(*_: object) -> None:
        raise RuntimeError("stumbled")

    monkeypatch.setattr(scheduler_module, "tidy", stumble)
    scheduler = scheduler_of(tmp_path, settings, ScriptedEngine())

    async def live() -> None:
        work = await scheduler.start()
        await asyncio.wait({work})

    with capture_logs() as logged:
        run(scheduler, live)

    assert "work_failed" in [line["event"] for line in logged]
