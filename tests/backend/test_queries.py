"""What is asked of jobs, with a journal of its own and no server."""

import asyncio
from pathlib import Path

from layert2v_backend.journal import Journal
from layert2v_backend.ledger import Ledger
from layert2v_backend.queries import Queries
from layert2v_domain.job import JobState
from support.journal_entries import SHOT


def test_a_watch_ends_with_its_time_so_that_its_client_comes_back(tmp_path: Path) -> None:
    journal = Journal(tmp_path / "journal.sqlite3")
    job, _ = journal.create(SHOT, "hash", 1.0)

    async def question() -> list[object]:
        ledger = Ledger(journal, 3, lambda: None)
        queries = Queries(ledger, watch_limit_s=0.0)
        events = [event async for event in queries.watch(job.id, 0)]
        await ledger.close()
        return events

    assert asyncio.run(question()) == []


def test_a_repeated_request_is_answered_with_the_cancel_that_is_promised(tmp_path: Path) -> None:
    journal = Journal(tmp_path / "journal.sqlite3")
    job, _ = journal.create(SHOT, "hash", 1.0, "request")

    async def question() -> list[JobState | None]:
        ledger = Ledger(journal, 3, lambda: None)
        ledger.promises.remember(job.id)
        queries = Queries(ledger, watch_limit_s=0.0)
        found = [await queries.find_request(name, "hash") for name in ("request", "other")]
        await ledger.close()
        return [each and each.state for each in found]

    assert asyncio.run(question()) == [JobState.CANCELLING, None]
