"""The events of a job for all its watchers: what is kept, what is read again, and failures."""

import asyncio
from collections.abc import Coroutine

import pytest

from layert2v_backend.jobs import JobEvent
from layert2v_backend.watching import READ_AT_ONCE, Feed, Watched
from support.waiting import HANG_S


def events(first: int, last: int) -> list[JobEvent]:
    return [JobEvent(number, 1, 0.0, f"event {number}") for number in range(first, last + 1)]


def test_events_that_are_no_longer_kept_must_be_read() -> None:
    feed = Feed(0)
    feed.add(events(1, READ_AT_ONCE + 10))

    assert feed.after(9) is None
    assert feed.after(10) == events(11, READ_AT_ONCE + 10)
    assert feed.after(READ_AT_ONCE + 10) == []


def run(question: Coroutine[None, None, None]) -> None:
    asyncio.run(asyncio.wait_for(question, HANG_S))


def test_news_that_has_come_is_not_waited_for() -> None:
    run(Feed(3).news(2, HANG_S * 2))


def test_a_failure_to_read_reaches_every_watcher_and_the_next_one_reads_again() -> None:
    fails = [True]

    async def read(job_id: str, after: int, limit: int) -> list[JobEvent]:
        if fails.pop() if fails else False:
            raise OSError("the disk is away")
        return events(after + 1, 2)

    async def question() -> None:
        watched = Watched(read)
        async with watched.feed("job", 0) as feed, watched.feed("job", 0) as same:
            assert same is feed
            await feed.news(0, HANG_S)
            for _ in range(2):
                with pytest.raises(OSError, match="away"):
                    await feed.news(0, HANG_S)
            async with watched.feed("job", 0) as fresh:
                await fresh.news(0, HANG_S)
                assert fresh.after(0) == events(1, 2)

    run(question())


def test_a_history_longer_than_one_reading_is_read_to_its_end() -> None:
    last = 2 * READ_AT_ONCE + 5

    async def read(job_id: str, after: int, limit: int) -> list[JobEvent]:
        return events(after + 1, min(after + limit, last))

    async def question() -> None:
        async with Watched(read).feed("job", 0) as feed:
            while feed.last < last:
                await feed.news(feed.last, HANG_S)

    run(question())


def test_every_watcher_looks_again_when_all_are_woken() -> None:
    async def read(job_id: str, after: int, limit: int) -> list[JobEvent]:
        return []

    async def question() -> None:
        watched = Watched(read)
        async with watched.feed("job", 0) as feed:
            asyncio.get_running_loop().call_soon(watched.wake_all)
            await feed.news(0, HANG_S * 2)

    run(question())
