"""Queries about jobs: their records, files and news."""

import time
from collections.abc import AsyncGenerator, Iterable

from layert2v_backend.errors import InvalidRequest, UnknownArtifact, shown
from layert2v_backend.jobs import Artifact, Job, JobEvent
from layert2v_backend.journal_rows import UNREADABLE_ENTRY
from layert2v_backend.ledger import Ledger
from layert2v_backend.watching import READ_AT_ONCE
from layert2v_domain.job import JobState


class Queries:
    """Answers queries about jobs without waiting for jobs."""

    def __init__(self, ledger: Ledger, watch_limit_s: float) -> None:
        self._ledger, self._journal = ledger, ledger.journal
        self._watch_limit_s = watch_limit_s

    async def find_request(self, request_id: str, request_sha256: str) -> Job | None:
        """Find the job that a request created before. See `Journal.find_request`."""
        found = await self._ledger.call(self._journal.find_request, request_id, request_sha256)
        return found and self._ledger.promises.as_asked(found)

    async def get(self, job_id: str) -> Job:
        """Read one job, or raise UnknownJob."""
        return self._ledger.promises.as_asked(await self._ledger.call(self._journal.get, job_id))

    async def find_jobs(self, job_ids: Iterable[str]) -> dict[str, Job]:
        """Read the jobs of `job_ids` that exist."""
        return await self._ledger.call(self._journal.find_jobs, sorted(job_ids))

    async def list_jobs(self, limit: int, before: int | None) -> list[tuple[int, Job]]:
        """List jobs, newest first. See `Journal.list_jobs`."""
        listed = await self._ledger.call(self._journal.list_jobs, limit, before)
        return [(number, self._ledger.promises.as_asked(job)) for number, job in listed]

    async def count(self, *states: JobState) -> int:
        """Count the jobs in any of `states`."""
        return await self._ledger.call(self._journal.count, *states)

    async def list_artifacts(self, job_id: str, after: str, limit: int) -> list[Artifact]:
        """List artifacts in path order, or raise UnknownJob."""
        await self.get(job_id)
        return await self._ledger.call(self._journal.artifacts, job_id, after, limit)

    async def get_artifact(self, job_id: str, artifact_id: str) -> Artifact:
        """Read one artifact.

        Raises:
            UnknownArtifact: The artifact or its job does not exist.
        """
        artifact = await self._ledger.call(self._journal.find_artifact, job_id, artifact_id)
        if artifact is None:
            name = shown(f"jobs/{job_id}/artifacts/{artifact_id}")
            raise UnknownArtifact(
                f"there is no artifact {name}: list the artifacts of the job after it has succeeded"
            )
        return artifact

    async def watch(self, job_id: str, after: int) -> AsyncGenerator[JobEvent, None]:
        """Yield the events of a job after a sequence number, up to the terminal event.

        Ends early after `Settings.watch_limit_s`.

        Raises:
            UnknownJob: The job does not exist.
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
        deadline = time.monotonic() + self._watch_limit_s
        async with self._ledger.watched.feed(job_id, job.last_sequence) as feed:
            while time.monotonic() < deadline:
                events = feed.after(after)
                if events is None:
                    events = await self._ledger.read_events(job_id, after, READ_AT_ONCE)
                for event in events:
                    yield event
                    after = event.sequence
                    if isinstance(event.what, JobState) and event.what.is_terminal:
                        return
                    if event.what == UNREADABLE_ENTRY and await self._ended_at(job_id, after):
                        return
                if not events:
                    self._ledger.check_draining()
                    await feed.news(after, deadline - time.monotonic())

    async def _ended_at(self, job_id: str, sequence: int) -> bool:
        """Say whether a job ended with this event, whose damaged row cannot say it."""
        job = await self.get(job_id)
        return job.state.is_terminal and sequence >= job.last_sequence
