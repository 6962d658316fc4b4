"""Runs the journal for the event loop, on a thread of its own, with promises and watchers.

Answers do not wait for jobs. An acknowledgement, a take and every message to a watcher are written
to the journal first.
"""

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import ParamSpec, TypeVar

import structlog

from layert2v_backend.errors import DiskFull, Draining, StorageFault
from layert2v_backend.jobs import JobEvent
from layert2v_backend.journal import Journal
from layert2v_backend.promises import Promises
from layert2v_backend.watching import Watched

P = ParamSpec("P")
R = TypeVar("R")

_DISK_RETRY_S = 1.0

log = structlog.get_logger()


class Ledger:
    """A journal with its promises and its watchers."""

    def __init__(self, journal: Journal, max_lost: int, make_room: Callable[[], object]) -> None:
        """Start the journal's thread.

        Args:
            journal: The journal. From now on only this ledger calls it.
            max_lost: The limit of `Journal.recover`.
            make_room: Called if the journal's disk is full, before another try.
        """
        self.journal = journal
        self.promises = Promises(journal, max_lost, self._ring_soon)
        self.watched = Watched(self.read_events)
        self.is_draining = False
        """Say whether the backend is stopping."""
        self._make_room = make_room
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="journal")

    def begin(self) -> None:
        """Send the news of the journal's thread to the running event loop."""
        self._loop = asyncio.get_running_loop()

    def check_draining(self) -> None:
        """Refuse new work if the backend is stopping.

        Raises:
            Draining: The backend is stopping.
        """
        if self.is_draining:
            raise Draining("the backend is stopping: try again when it is back")

    async def close(self) -> None:
        """Close the journal. Call it when all reads have ended."""
        await self.call(self.journal.close)
        self._thread.shutdown()

    async def call(self, call: Callable[P, R], *args: P.args, **kwargs: P.kwargs) -> R:
        """Call the journal, or another object of its thread, on that thread."""
        loop = asyncio.get_running_loop()
        return await loop.run_in_executor(self._thread, lambda: call(*args, **kwargs))

    async def insist(self, call: Callable[P, R], *args: P.args, **kwargs: P.kwargs) -> R:
        """Call the journal until its disk accepts the change, which must be written.

        Raises:
            StorageFault: The backend is stopping.
        """
        while True:
            try:
                return await self.call(call, *args, **kwargs)
            except StorageFault as fault:
                if self.is_draining:
                    raise
                log.warning("journal_waits", why=fault.message, retry_s=_DISK_RETRY_S)
                if isinstance(fault, DiskFull):
                    self._make_room()
                await asyncio.sleep(_DISK_RETRY_S)

    async def insist_after_promises(
        self, call: Callable[P, R], *args: P.args, **kwargs: P.kwargs
    ) -> R:
        """Insist on a call after everything that is promised until then, also while it waits.

        Raises:
            StorageFault: The backend is stopping.
        """

        def kept_before() -> R:
            return self.promises.kept_before(call, *args, **kwargs)

        return await self.insist(kept_before)

    async def read_events(self, job_id: str, after: int, limit: int) -> list[JobEvent]:
        """Read events of a job. See `Journal.events`."""
        return await self.call(self.journal.events, job_id, after, limit)

    def ring(self, job_id: str) -> None:
        """Say that a job has news in the journal."""
        self.watched.ring(job_id)

    def _ring_soon(self, job_id: str) -> None:
        """Tell the watchers from the journal's thread."""
        self._loop.call_soon_threadsafe(self.ring, job_id)
