"""What is asked of jobs: their records, files and news, read on the journal's own thread."""

import asyncio
import time
from collections.abc import AsyncGenerator, Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from typing import ParamSpec, TypeVar

from layert2v_backend.errors import Draining, InvalidRequest, UnknownArtifact, shown
from layert2v_backend.jobs import Artifact, Job, JobEvent
from layert2v_backend.journal import Journal
from layert2v_backend.journal_rows import UNREADABLE_ENTRY
from layert2v_backend.promises import Promises
from layert2v_backend.settings import Settings
from layert2v_backend.watching import READ_AT_ONCE, Watched
from layert2v_domain.job import JobState

P = ParamSpec("P")
R = TypeVar("R")


class Queries:
    """Answers about jobs; the journal belongs to one thread, so that answers wait for no job."""

    def __init__(self, journal: Journal, settings: Settings) -> None:
        self._journal = journal
        self._settings = settings
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="journal")
        self._promises = Promises(journal, settings.max_lost_attempts, self._ring_soon)
        self._watched = Watched(self._read_events)
        self._is_draining = False

    def _begin(self) -> None:
        """Take the running event loop for the news of the journal's thread."""
        self._loop = asyncio.get_running_loop()

    async def close(self) -> None:
        """Close the journal; to be called after `drain`, when nobody reads any more."""
        await self._on_journal(self._journal.close)
        self._thread.shutdown()

    async def _on_journal(self, call: Callable[P, R], *args: P.args, **kwargs: P.kwargs) -> R:
        loop = asyncio.get_running_loop()
        return await loop.run_in_executor(self._thread, lambda: call(*args, **kwargs))

    def _ring(self, job_id: str) -> None:
        self._watched.ring(job_id)

    async def _read_events(self, job_id: str, after: int, limit: int) -> list[JobEvent]:
        return await self._on_journal(self._journal.events, job_id, after, limit)

    def _ring_soon(self, job_id: str) -> None:
        """Ring from the journal's thread."""
        self._loop.call_soon_threadsafe(self._ring, job_id)

    async def find_request(self, request_id: str, request_sha256: str) -> Job | None:
        """Find the job that a request has made before; see `Journal.find_request`."""
        return await self._on_journal(self._journal.find_request, request_id, request_sha256)

    def _check_draining(self) -> None:
        if self._is_draining:
            raise Draining("the backend is stopping: try again when it is back")

    async def get(self, job_id: str) -> Job:
        """Read one job; raises UnknownJob."""
        return self._promises.as_asked(await self._on_journal(self._journal.get, job_id))

    async def find_jobs(self, job_ids: Iterable[str]) -> dict[str, Job]:
        """Read those of `job_ids` that exist."""
        return await self._on_journal(self._journal.find_jobs, sorted(job_ids))

    async def list_jobs(self, limit: int, before: int | None) -> list[tuple[int, Job]]:
        """List jobs, newest first; see `Journal.list_jobs`."""
        listed = await self._on_journal(self._journal.list_jobs, limit, before)
        return [(number, self._promises.as_asked(job)) for number, job in listed]

    async def count(self, *states: JobState) -> int:
        """Count the jobs in any of `states`."""
        return await self._on_journal(self._journal.count, *states)

    async def list_artifacts(self, job_id: str, after: str, limit: int) -> list[Artifact]:
        """List artifacts in path order; raises UnknownJob."""
        await self.get(job_id)
        return await self._on_journal(self._journal.artifacts, job_id, after, limit)

    async def get_artifact(self, job_id: str, artifact_id: str) -> Artifact:
        """Read one artifact.

        Raises:
            UnknownArtifact: There is none, or no such job.
        """
        artifact = await self._on_journal(self._journal.find_artifact, job_id, artifact_id)
        if artifact is None:
            name = shown(f"jobs/{job_id}/artifacts/{artifact_id}")
            raise UnknownArtifact(
                f"there is no artifact {name}: list the artifacts of the job; "
                f"it has some once it has succeeded"
            )
        return artifact

    async def watch(self, job_id: str, after: int) -> AsyncGenerator[JobEvent, None]:
        """Yield the events of a job after a sequence number, as they come, to the terminal one.

        Ends early after `Settings.watch_limit_s`.

        Raises:
            UnknownJob: There is none.
            InvalidRequest: The job has no such event yet.
            Draining: The backend is stopping.
        """
        job = await self.get(job_id)
        if after > job.last_sequence:
            raise InvalidRequest(
                f"after_sequence: {after} is past the last event of jobs/{job_id}, "
                f"{job.last_sequence}: ask from the last one seen"
            )
        if job.state.is_terminal and after == job.last_sequence:
            return
        deadline = time.monotonic() + self._settings.watch_limit_s
        async with self._watched.feed(job_id, job.last_sequence) as feed:
            while time.monotonic() < deadline:
                events = feed.after(after)
                if events is None:
                    events = await self._read_events(job_id, after, READ_AT_ONCE)
                for event in events:
                    yield event
                    after = event.sequence
                    if isinstance(event.what, JobState) and event.what.is_terminal:
                        return
                    if event.what == UNREADABLE_ENTRY and await self._ended_at(job_id, after):
                        return
                if not events:
                    self._check_draining()
                    await feed.news(after, deadline - time.monotonic())

    async def _ended_at(self, job_id: str, sequence: int) -> bool:
        """Whether a job is over with this event, which no longer says so itself."""
        job = await self.get(job_id)
        return job.state.is_terminal and sequence >= job.last_sequence
