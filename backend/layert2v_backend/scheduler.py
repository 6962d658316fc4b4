"""Which job runs where: one slot per engine, attempts and lost workers.

Lives in the front door's event loop. Whatever is acknowledged, published or told to a watcher is
in the journal first.
"""

import asyncio
import time
import traceback
from collections.abc import Callable
from contextlib import aclosing, suppress
from dataclasses import replace
from typing import ParamSpec, TypeVar

import structlog

from layert2v_backend.admission import check_memory, find_device
from layert2v_backend.artifacts import ArtifactStore, free_bytes
from layert2v_backend.engine import Engine
from layert2v_backend.errors import (
    DataLoss,
    DiskFull,
    ModelDamaged,
    QueueFull,
    StaleAttempt,
    StorageFault,
    UnknownModel,
    WorkerLost,
    WorkerNotStarted,
    words_of,
)
from layert2v_backend.jobs import Artifact, Job, take_path
from layert2v_backend.journal import Journal
from layert2v_backend.models import Catalogue
from layert2v_backend.queries import Queries
from layert2v_backend.settings import Settings
from layert2v_backend.tidying import tidy
from layert2v_backend.words import unknown_words_of
from layert2v_backend.worker_protocol import (
    Failed,
    Finished,
    StageProgress,
    Stopped,
    Task,
    WorkerMessage,
)
from layert2v_domain.job import JobError, JobState, Progress
from layert2v_domain.shot import Shot
from layert2v_words import UnknownWords

P = ParamSpec("P")
R = TypeVar("R")

_DISK_RETRY_S = 1.0
_ETA_FROM = 0.08
"""Below this fraction an estimate says nothing: loading may have been skipped."""

log = structlog.get_logger()


class Scheduler(Queries):
    """The queue and its one running job; answers about jobs as `Queries`."""

    def __init__(
        self,
        journal: Journal,
        store: ArtifactStore,
        catalogue: Catalogue,
        engine: Engine,
        settings: Settings,
    ) -> None:
        super().__init__(journal, settings)
        self.catalogue = catalogue
        self.store = store
        self._engine = engine
        self._device = find_device(settings.memory_bytes)
        self._wake = asyncio.Event()
        self._working: asyncio.Task[None] | None = None

    async def start(self) -> asyncio.Task[None]:
        """Recover what a former backend left, then begin to work.

        Returns:
            The work; it ends only by `drain`, or with the error that stopped it.
        """
        self._begin()
        await self._engine.end_former_workers()
        self.store.drop_drafts()
        try:
            await self._on_journal(self._promises.keep)
        except StorageFault as fault:
            log.warning("recovery_waits", why=fault.message)
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

    async def _insist(self, call: Callable[P, R], *args: P.args, **kwargs: P.kwargs) -> R:
        """Call the journal until its disk takes it: what has happened must be written.

        Raises:
            StorageFault: The backend is stopping.
        """
        while True:
            try:
                return await self._on_journal(call, *args, **kwargs)
            except StorageFault as fault:
                if self._is_draining:
                    raise
                log.warning("journal_waits", why=fault.message, retry_s=_DISK_RETRY_S)
                if isinstance(fault, DiskFull):
                    self.store.empty_trash(self._settings.min_free_bytes)
                await asyncio.sleep(_DISK_RETRY_S)

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
        self.store.empty_trash(self._settings.min_free_bytes)
        free = free_bytes(self.store.root)
        if free < self._settings.min_free_bytes:
            raise DiskFull(
                f"{free >> 20} MiB are free where the backend stores takes, "
                f"{self._settings.min_free_bytes >> 20} MiB are needed: free some space"
            )

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

    async def cancel(self, job_id: str) -> Job:
        """Cancel a job; see `Journal.cancel`.

        A cancel is never refused for the disk: it takes effect at once, and is written once the
        disk takes it.
        """
        try:
            job = await self._on_journal(self._journal.cancel, job_id, time.time())
        except StorageFault as fault:
            log.warning("cancel_waits", job=job_id, why=fault.message)
            self._promises.remember(job_id)
            job = await self.get(job_id)
        self._ring(job_id)
        if job.state is JobState.CANCELLING:
            await self._engine.cancel(job.id, job.attempt)
        return job

    async def _work(self) -> None:
        try:
            await self._on_journal(tidy, self._journal, self.store)
        except (StorageFault, OSError) as failure:
            log.warning("store_not_swept", why=str(failure))
        try:
            while not self._is_draining:
                await self._work_on_next()
        except StorageFault as fault:
            # Only while draining: the next start finds the attempt and puts it back.
            log.warning("attempt_left", why=fault.message)

    async def _work_on_next(self) -> None:
        self._wake.clear()
        job = await self._insist(self._promises.begin_next)
        if job is None:
            await self._wake.wait()
            return
        self._ring(job.id)
        log.info("attempt_began", job=job.id, attempt=job.attempt)
        try:
            await self._attempt(job)
        except StaleAttempt as stale:
            log.warning("message_refused", job=job.id, why=str(stale))
        self._ring(job.id)

    async def _attempt(self, job: Job) -> None:
        """Run one attempt to its end and write how it ended."""
        try:
            last = await self._follow(await self._task(job))
        except (DataLoss, UnknownModel, ModelDamaged, StorageFault) as refused:
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

    async def _write_end(self, job: Job, last: WorkerMessage) -> Job:
        await self._insist(self._promises.keep)
        now = time.time()
        if isinstance(last, Finished):
            ended = await self._insist(self._journal.succeed, job.id, job.attempt, last, now)
            if ended.state is JobState.SUCCEEDED:
                await self._settle(job)
            return ended
        if isinstance(last, Failed):
            return await self._insist(self._journal.fail, job.id, job.attempt, last.error, now)
        return await self._insist(self._journal.stop, job.id, job.attempt, now)

    async def _settle(self, job: Job) -> None:
        """Let the store count the take that the journal has just published."""
        try:
            pair = await self._on_journal(self._journal.pair)
            await asyncio.to_thread(self.store.settle, job.id, job.attempt, pair)
        except (StorageFault, OSError) as failure:
            log.warning("store_not_counted", job=job.id, why=str(failure))

    async def _lose(self, job: Job, lost: WorkerLost) -> None:
        await self._insist(self._promises.keep)
        if self._is_draining:
            await self._on_journal(
                lambda: self._journal.put_back(self._journal.get(job.id), time.time())
            )
            return
        log.warning("attempt_lost", job=job.id, attempt=job.attempt, why=str(lost))
        with suppress(OSError):
            await asyncio.to_thread(self.store.drop_drafts)
        limit = self._settings.max_lost_attempts
        await self._insist(self._journal.lose, job.id, job.attempt, str(lost), limit, time.time())

    async def _follow(self, task: Task) -> WorkerMessage:
        """Run a task, journal its progress, and return its last message."""
        begin = time.monotonic()
        async with aclosing(self._engine.run(task)) as messages:
            async for message in messages:
                if not isinstance(message, StageProgress):
                    return message
                await self._add_progress(task, message, time.monotonic() - begin)
        raise WorkerLost("the engine ended without a last word")

    async def _add_progress(self, task: Task, told: StageProgress, elapsed_s: float) -> None:
        fraction = told.fraction
        eta_s = elapsed_s / fraction - elapsed_s if fraction > _ETA_FROM else None
        progress = Progress(told.stage, told.step, told.num_steps, fraction, eta_s)
        try:
            await self._on_journal(
                self._journal.add_progress, task.job_id, task.attempt, progress, time.time()
            )
        except StorageFault as fault:
            # Progress may be missed; the job's end may not.
            log.warning("progress_dropped", job=task.job_id, why=fault.message)
        self._ring(task.job_id)

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
                job_id = layer.kept.job_id
                if job_id not in sources:
                    sources[job_id] = await self._on_journal(self._journal.artifacts, job_id)
                kept += [
                    _carried_over(artifact, index)
                    for artifact in sources[job_id]
                    if artifact.layer_index == layer.kept.layer_index
                ]
        for artifact in kept:
            await asyncio.to_thread(self.store.check, artifact.sha256, artifact.size_bytes)
        return Task(
            job_id=job.id,
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
