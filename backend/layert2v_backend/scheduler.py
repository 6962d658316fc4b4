"""Which job runs where: one slot per engine, attempts, lost workers, and news for watchers.

Lives in the front door's event loop. The journal belongs to one thread of its own; whatever is
acknowledged, published or told to a watcher is in the journal first.
"""

import asyncio
import time
import traceback
from collections.abc import AsyncGenerator, Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from contextlib import aclosing
from dataclasses import replace
from typing import ParamSpec, TypeVar

import structlog

from layert2v_backend.admission import check_memory, find_device
from layert2v_backend.artifacts import ArtifactStore, free_bytes
from layert2v_backend.engine import Engine
from layert2v_backend.errors import (
    DataLoss,
    DiskFull,
    Draining,
    InvalidRequest,
    ModelDamaged,
    QueueFull,
    StaleAttempt,
    UnknownArtifact,
    UnknownModel,
    WorkerLost,
    WorkerNotStarted,
    shown,
    words_of,
)
from layert2v_backend.jobs import (
    Artifact,
    Failed,
    Finished,
    Job,
    JobError,
    JobEvent,
    JobProgress,
    JobState,
    Progress,
    Report,
    Shot,
    Stopped,
    Task,
    take_path,
)
from layert2v_backend.journal import Journal
from layert2v_backend.models import Catalogue
from layert2v_backend.settings import Settings
from layert2v_backend.watching import READ_AT_ONCE, Watched
from layert2v_backend.words import unknown_words_of
from layert2v_words import UnknownWords

P = ParamSpec("P")
R = TypeVar("R")

_DISK_RETRY_S = 1.0
_ETA_FROM = 0.08
"""Below this fraction an estimate says nothing: loading may have been skipped."""

log = structlog.get_logger()


class Scheduler:
    """The queue, its one running job, and those who watch."""

    def __init__(
        self,
        journal: Journal,
        store: ArtifactStore,
        catalogue: Catalogue,
        engine: Engine,
        settings: Settings,
    ) -> None:
        self.catalogue = catalogue
        self.store = store
        self._journal = journal
        self._engine = engine
        self._settings = settings
        self._device = find_device(settings.memory_bytes)
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="journal")
        self._wake = asyncio.Event()
        self._watched = Watched(self._read_events)
        self._is_draining = False
        self._working: asyncio.Task[None] | None = None

    async def start(self) -> asyncio.Task[None]:
        """Recover what a former backend left, then begin to work.

        Returns:
            The work; it ends only by `drain`, or with the error that stopped it.
        """
        for job_id in await self._on_journal(self._journal.recover, time.time()):
            log.info("job_recovered", job=job_id)
        self.store.drop_drafts()
        self._working = asyncio.create_task(self._work())
        return self._working

    async def drain(self) -> None:
        """Refuse new jobs, put the running one back, end all watching; reading goes on."""
        self._is_draining = True
        self._wake.set()
        self._watched.wake_all()
        await self._engine.close()
        if self._working:
            (failure,) = await asyncio.gather(self._working, return_exceptions=True)
            if failure:
                log.error("work_failed", why=repr(failure))

    @property
    def is_model_loaded(self) -> bool:
        """Whether a worker holds a model, so that a job starts at once."""
        return self._engine.is_model_loaded

    async def close(self) -> None:
        """Close the journal; to be called after `drain`, when nobody reads any more."""
        await self._on_journal(self._journal.close)
        self._thread.shutdown()

    async def _on_journal(self, call: Callable[P, R], *args: P.args, **kwargs: P.kwargs) -> R:
        loop = asyncio.get_running_loop()
        return await loop.run_in_executor(self._thread, lambda: call(*args, **kwargs))

    async def _insist(self, call: Callable[P, R], *args: P.args, **kwargs: P.kwargs) -> R:
        """Call the journal until the disk has room: what has happened must be written."""
        while True:
            try:
                return await self._on_journal(call, *args, **kwargs)
            except DiskFull:
                if self._is_draining:
                    raise
                log.warning("disk_full", retry_s=_DISK_RETRY_S)
                await asyncio.sleep(_DISK_RETRY_S)

    def _ring(self, job_id: str) -> None:
        self._watched.ring(job_id)

    async def _read_events(self, job_id: str, after: int, limit: int) -> list[JobEvent]:
        return await self._on_journal(self._journal.events, job_id, after, limit)

    async def find_request(self, request_id: str, request_sha256: str) -> Job | None:
        """Find the job that a request has made before; see `Journal.find_request`."""
        return await self._on_journal(self._journal.find_request, request_id, request_sha256)

    async def admit(self, shot: Shot) -> None:
        """Refuse new jobs while there is no room for them, and what never fits.

        How many jobs wait is decided by `create`, together with the entry into the journal.

        Raises:
            InvalidShot: The shot does not fit the device's memory in any way.
            Draining: The backend is stopping.
            DiskFull: The state folder's disk has less than the floor.
        """
        self._check_draining()
        folder = self.catalogue.find(shot.model).folder
        await asyncio.to_thread(check_memory, shot, folder, self._device)
        free = free_bytes(self.store.root)
        if free < self._settings.min_free_bytes:
            raise DiskFull(
                f"{free >> 20} MiB are free where the backend stores takes, "
                f"{self._settings.min_free_bytes >> 20} MiB are needed: free some space"
            )

    def _check_draining(self) -> None:
        if self._is_draining:
            raise Draining("the backend is stopping: try again when it is back")

    async def create(self, shot: Shot, request_sha256: str, request_id: str | None) -> Job:
        """Queue a shot; see `Journal.create`.

        Raises:
            Draining: The backend is stopping.
            QueueFull: Too many jobs wait.
        """
        self._check_draining()
        unknown_words = unknown_words_of(shot, self.catalogue.find(shot.model).limits)
        job, is_new = await self._on_journal(
            self._create_within_limit, shot, request_sha256, request_id, unknown_words
        )
        if is_new:
            log.info("job_created", job=job.id, model=shot.model, num_layers=len(shot.layers))
            self._wake.set()
        return job

    def _create_within_limit(
        self,
        shot: Shot,
        request_sha256: str,
        request_id: str | None,
        unknown_words: tuple[UnknownWords, ...],
    ) -> tuple[Job, bool]:
        """Count and enter in one go on the journal's thread, so that no two calls pass as one."""
        known = self._journal.find_request(request_id, request_sha256) if request_id else None
        if known:
            return known, False
        num_queued = self._journal.count(JobState.QUEUED)
        if num_queued >= self._settings.max_queued:
            raise QueueFull(
                f"{num_queued} jobs wait, the limit is {self._settings.max_queued}: "
                f"cancel some or wait"
            )
        return self._journal.create(shot, request_sha256, time.time(), request_id, unknown_words)

    async def get(self, job_id: str) -> Job:
        """Read one job; raises UnknownJob."""
        return await self._on_journal(self._journal.get, job_id)

    async def find_jobs(self, job_ids: Iterable[str]) -> dict[str, Job]:
        """Read those of `job_ids` that exist."""
        return await self._on_journal(self._journal.find_jobs, sorted(job_ids))

    async def list_jobs(self, limit: int, before: int | None) -> list[tuple[int, Job]]:
        """List jobs, newest first; see `Journal.list_jobs`."""
        return await self._on_journal(self._journal.list_jobs, limit, before)

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

    async def cancel(self, job_id: str) -> Job:
        """Cancel a job; see `Journal.cancel`."""
        job = await self._on_journal(self._journal.cancel, job_id, time.time())
        self._ring(job_id)
        if job.state is JobState.CANCELLING:
            await self._engine.cancel(job.id, job.attempt)
        return job

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
                if not events:
                    self._check_draining()
                    await feed.news(after, deadline - time.monotonic())

    async def _work(self) -> None:
        referenced = await self._on_journal(self._journal.referenced)
        await asyncio.to_thread(self.store.sweep, referenced)
        while not self._is_draining:
            self._wake.clear()
            job = await self._insist(self._journal.begin_next, time.time())
            if job is None:
                await self._wake.wait()
                continue
            self._ring(job.id)
            log.info("attempt_began", job=job.id, attempt=job.attempt)
            try:
                await self._attempt(job)
            except StaleAttempt as stale:
                log.warning("report_refused", job=job.id, why=str(stale))
            self._ring(job.id)

    async def _attempt(self, job: Job) -> None:
        """Run one attempt to its end and write how it ended."""
        try:
            last = await self._follow(await self._task(job))
        except (DataLoss, UnknownModel, ModelDamaged) as refused:
            last = Failed(JobError(refused.reason, refused.message))
        except WorkerNotStarted as failure:
            last = Failed(JobError("WORKER_NOT_STARTED", str(failure)))
        except WorkerLost as lost:
            await self._lose(job, lost)
            return
        except StaleAttempt:
            raise
        # The border where a job meets its owner: whatever the system or a bug raises is this job's
        # failure, and the door goes on.
        except Exception as failure:  # noqa: BLE001
            last = Failed(_error_of(failure))
            frames = traceback.format_tb(failure.__traceback__)[-8:]
            log.error("attempt_failed", job=job.id, kind=type(failure).__name__, frames=frames)
        if isinstance(last, Stopped):
            current = await self._insist(self._journal.get, job.id)
            if current.state is JobState.RUNNING:
                await self._lose(job, WorkerLost("the worker stopped without being asked"))
                return
        ended = await self._write_end(job, last)
        log.info("attempt_ended", job=job.id, attempt=job.attempt, state=ended.state.value)

    async def _write_end(self, job: Job, last: Report) -> Job:
        now = time.time()
        if isinstance(last, Finished):
            return await self._insist(self._journal.succeed, job.id, job.attempt, last, now)
        if isinstance(last, Failed):
            return await self._insist(self._journal.fail, job.id, job.attempt, last.error, now)
        return await self._insist(self._journal.stop, job.id, job.attempt, now)

    async def _lose(self, job: Job, lost: WorkerLost) -> None:
        if self._is_draining:
            await self._on_journal(
                lambda: self._journal.put_back(self._journal.get(job.id), time.time())
            )
            return
        log.warning("attempt_lost", job=job.id, attempt=job.attempt, why=str(lost))
        limit = self._settings.max_lost_attempts
        await self._insist(self._journal.lose, job.id, job.attempt, str(lost), limit, time.time())

    async def _follow(self, task: Task) -> Report:
        """Run a task, journal its progress, and return its last report."""
        begin = time.monotonic()
        async with aclosing(self._engine.run(task)) as reports:
            async for report in reports:
                if not isinstance(report, Progress):
                    return report
                await self._add_progress(task, report, time.monotonic() - begin)
        raise WorkerLost("the engine ended without a last word")

    async def _add_progress(self, task: Task, report: Progress, elapsed_s: float) -> None:
        fraction = report.fraction
        eta_s = elapsed_s / fraction - elapsed_s if fraction > _ETA_FROM else -1.0
        progress = JobProgress(report.stage, report.step, report.num_steps, fraction, eta_s)
        try:
            await self._on_journal(
                self._journal.add_progress, task.job, task.attempt, progress, time.time()
            )
        except DiskFull:
            # Progress may be missed; the job's end may not.
            log.warning("progress_dropped", job=task.job)
        self._ring(task.job)

    async def _task(self, job: Job) -> Task:
        """Complete an attempt's task.

        Raises:
            DataLoss: A kept layer's file is damaged.
            UnknownModel, ModelDamaged: The model has gone since the job was made.
        """
        model = self.catalogue.find(job.shot.model)
        kept: list[Artifact] = []
        sources: dict[str, list[Artifact]] = {}
        for index, layer in enumerate(job.shot.layers):
            if layer.kept:
                name = layer.kept.job
                if name not in sources:
                    sources[name] = await self._on_journal(self._journal.artifacts, name)
                kept += [
                    _carried_over(artifact, index)
                    for artifact in sources[name]
                    if artifact.layer_index == layer.kept.layer_index
                ]
        for artifact in kept:
            await asyncio.to_thread(self.store.check, artifact.sha256, artifact.size_bytes)
        return Task(
            job=job.id,
            attempt=job.attempt,
            shot=job.shot,
            model_folder=str(model.folder),
            store=str(self.store.root),
            kept=tuple(kept),
            unknown_words=job.unknown_words,
        )


def _error_of(failure: Exception) -> JobError:
    """Word a failure of the front door itself, without Python's text or a path."""
    why = "a fault of its own, see its log"
    if isinstance(failure, OSError):
        why = words_of(failure)
    return JobError("INTERNAL", f"the backend could not run the job ({why}): try again")


def _carried_over(artifact: Artifact, layer_index: int) -> Artifact:
    path = take_path(artifact.kind, artifact.format, layer_index, artifact.frame_index)
    return replace(artifact, path=path, layer_index=layer_index)
