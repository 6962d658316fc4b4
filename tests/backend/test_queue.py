"""The queue's own answers, without a server before it."""

import asyncio
from pathlib import Path

import pytest

from layert2v_backend.artifacts import ArtifactStore
from layert2v_backend.errors import Draining
from layert2v_backend.journal import Journal
from layert2v_backend.models import find_models
from layert2v_backend.scheduler import Scheduler
from layert2v_backend.settings import Settings
from support.journal_entries import SHOT
from support.scripted_engine import ScriptedEngine
from support.waiting import HANG_S


def test_one_request_makes_one_job_and_a_stopping_queue_makes_none(
    tmp_path: Path, settings: Settings
) -> None:
    journal, store = Journal(tmp_path / "journal.sqlite3"), ArtifactStore(tmp_path / "artifacts")
    engine = ScriptedEngine()
    scheduler = Scheduler(journal, store, find_models(settings.models_dirs), engine, settings)

    async def live() -> set[str]:
        await scheduler.start()
        # Both calls passed the search for earlier requests before either had made its job.
        made = {(await scheduler.create(SHOT, "hash", "request")).id for _ in range(2)}
        await scheduler.drain()
        with pytest.raises(Draining, match="try again"):
            await scheduler.create(SHOT, "other", None)
        await scheduler.close()
        return made

    assert len(asyncio.run(asyncio.wait_for(live(), HANG_S))) == 1
