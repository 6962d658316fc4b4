"""How attempts end where the journal does not take their end at once, or not at all."""

import asyncio
from dataclasses import replace
from pathlib import Path

import pytest
from structlog.testing import capture_logs

from layert2v.v1 import artifact_pb2, job_pb2
from layert2v_backend import ledger as ledger_module
from layert2v_backend.artifacts import ArtifactStore
from layert2v_backend.journal import Journal
from layert2v_backend.models import find_models
from layert2v_backend.scheduler import Scheduler
from layert2v_backend.settings import Settings
from layert2v_backend.worker_protocol import Finished
from layert2v_domain.job import JobState, Progress
from support.journal_entries import FRAME, REPORT, SHOT
from support.running_backend import Client
from support.scripted_engine import ScriptedEngine
from support.waiting import HANG_S
from support.wire_shots import make_shot


def test_a_cancel_is_kept_that_comes_while_a_finished_take_waits_for_the_disk(
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

    async def live() -> list[JobState | Progress | str]:
        await scheduler.start()
        job = await scheduler.create(SHOT, "a", None)
        await asyncio.to_thread(engine.is_holding.wait, HANG_S)
        await let_write("ON")
        with capture_logs() as logged:
            engine.may_go_on.set()
            while "journal_waits" not in [line["event"] for line in logged]:
                await asyncio.sleep(0.001)
        answer = await scheduler.cancel(job.id)
        assert answer.state is JobState.CANCELLING
        await let_write("OFF")
        told = [event.what async for event in scheduler.watch(job.id, 0)]
        await scheduler.drain()
        await scheduler.close()
        return told

    told = asyncio.run(asyncio.wait_for(live(), HANG_S))

    assert told[-2:] == [JobState.CANCELLING, JobState.CANCELLED]


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
    journal = Journal(tmp_path / "journal.sqlite3")
    store = ArtifactStore(tmp_path / "artifacts")
    scheduler = Scheduler(journal, store, find_models(settings.models_dirs), engine, settings)

    async def live() -> list[JobState | Progress | str]:
        await scheduler.start()
        doomed = await scheduler.create(SHOT, "a", None)
        await asyncio.to_thread(engine.is_holding.wait, HANG_S)
        after = await scheduler.create(SHOT, "b", None)
        damage = ("UPDATE job SET shot = '{' WHERE id = ?", (doomed.id,))
        await scheduler._ledger.call(journal._db.execute, *damage)
        engine.may_go_on.set()
        told = [event.what async for event in scheduler.watch(after.id, 0)]
        assert told[-1] is JobState.SUCCEEDED
        ended = await scheduler._ledger.read_events(doomed.id, 0, 100)
        await scheduler.drain()
        await scheduler.close()
        return [event.what for event in ended]

    told = asyncio.run(asyncio.wait_for(live(), HANG_S))

    assert told[-1] is JobState.FAILED
