"""News of jobs for all watchers. Each event is read once and given to every watcher.

It lives in the front door's event loop. The journal stays the truth. This module keeps only its
newest events, so that two hundred watchers cost one query an event and not two hundred.
"""

import asyncio
from collections import deque
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from itertools import islice

from layert2v_backend.jobs import JobEvent

READ_AT_ONCE = 256
"""Most events of one query, and most events kept for each watched job."""

Read = Callable[[str, int, int], Awaitable[list[JobEvent]]]
"""Reads at most `limit` events of a job after a sequence number, in order."""


class Feed:
    """The newest events of one job, for all its watchers."""

    def __init__(self, last: int) -> None:
        self.last = last
        """Sequence number up to which events have been read."""
        self.num_watchers = 0
        self.reading: asyncio.Task[None] | None = None
        self.is_rung = asyncio.Event()
        self.is_rung.set()
        self.failure: Exception | None = None
        self._recent: deque[JobEvent] = deque(maxlen=READ_AT_ONCE)
        self._news = asyncio.Event()

    def after(self, sequence: int) -> list[JobEvent] | None:
        """Give the events after a sequence number, or None if they are no longer kept."""
        if sequence >= self.last:
            return []
        if not self._recent or sequence < self._recent[0].sequence - 1:
            return None
        return list(islice(self._recent, sequence - self._recent[0].sequence + 1, None))

    async def news(self, sequence: int, timeout_s: float) -> None:
        """Wait for an event after `sequence`, for a call of `wake`, or until time is up.

        Raises:
            Exception: Reading failed. This is its error.
        """
        if self.failure is not None:
            raise self.failure
        if self.last > sequence:
            return
        try:
            async with asyncio.timeout(max(timeout_s, 0.0)):
                await self._news.wait()
        except TimeoutError:
            return

    def add(self, events: list[JobEvent]) -> None:
        """Append the next events, and wake the watchers."""
        if events:
            self._recent.extend(events)
            self.last = events[-1].sequence
            self.wake()

    def wake(self) -> None:
        """Let all watchers look again."""
        news, self._news = self._news, asyncio.Event()
        news.set()


class Watched:
    """The jobs that are watched now."""

    def __init__(self, read: Read) -> None:
        self._read = read
        self._feeds: dict[str, Feed] = {}

    def ring(self, job_id: str) -> None:
        """Say that a job has news in the journal."""
        if feed := self._feeds.get(job_id):
            feed.is_rung.set()

    def wake_all(self) -> None:
        """Let every watcher look again, even without news."""
        for feed in self._feeds.values():
            feed.wake()

    @asynccontextmanager
    async def feed(self, job_id: str, last: int) -> AsyncIterator[Feed]:
        """Follow a job together with its other watchers.

        Args:
            job_id: The job's id.
            last: Its last event at some instant. Later events are read without a ring.
        """
        feed = self._feeds.get(job_id)
        if feed is None:
            feed = self._feeds[job_id] = Feed(last)
            feed.reading = asyncio.create_task(self._keep_reading(job_id, feed))
        feed.num_watchers += 1
        try:
            yield feed
        finally:
            feed.num_watchers -= 1
            if not feed.num_watchers and feed.reading:
                feed.reading.cancel()
                self._forget(job_id, feed)

    async def _keep_reading(self, job_id: str, feed: Feed) -> None:
        try:
            while True:
                await feed.is_rung.wait()
                feed.is_rung.clear()
                events = await self._read(job_id, feed.last, READ_AT_ONCE)
                if len(events) == READ_AT_ONCE:
                    feed.is_rung.set()
                feed.add(events)
        # This is the border where the reader meets its owners. Every watcher raises its error.
        except Exception as failure:  # noqa: BLE001
            feed.failure = failure
            self._forget(job_id, feed)
            feed.wake()

    def _forget(self, job_id: str, feed: Feed) -> None:
        """Let the next watcher begin with a feed of its own."""
        if self._feeds.get(job_id) is feed:
            del self._feeds[job_id]
