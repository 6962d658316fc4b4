"""The queue: it admits and cancels jobs, and runs one attempt after the other.

It lives in the front door's event loop.
"""

import asyncio
import time

import structlog

from layert2v_backend.admission import check_memory, find_device
from layert2v_backend.artifacts import ArtifactStore, free_bytes
from layert2v_backend.attempts import Attempts
from layert2v_backend.engine import Engine
from layert2v_backend.errors import DataLoss, DiskFull, QueueFull, StaleAttempt, StorageFault
from layert2v_backend.jobs import Job
from layert2v_backend.journal import Journal
from layert2v_backend.ledger import Ledger
from layert2v_backend.models import Catalogue
from layert2v_backend.queries import Queries
from layert2v_backend.settings import Settings
from layert2v_backend.tidying import tidy
from layert2v_backend.words import unknown_words_of
from layert2v_domain.job import JobState
from layert2v_domain.shot import Shot
from layert2v_words import UnknownWords

log = structlog.get_logger()


class Scheduler(Queries):
    """The queue and its one running job. It answers queries about jobs as `Queries`."""

    def __init__(
        self,
        journal: Journal,
        store: ArtifactStore,
        catalogue: Catalogue,
        engine: Engine,
        settings: Settings,
    ) -> None:
        lost = settings.max_lost_attempts
        ledger = Ledger(journal, lost, lambda: store.empty_trash(settings.min_free_bytes))
        super().__init__(ledger, settings.watch_limit_s)
        self.catalogue = catalogue
        self.store = store
        self._settings = settings
        self._engine = engine
        self._attempts = Attempts(ledger, store, catalogue, engine, lost)
        self._device = find_device(settings.memory_bytes)
        self._wake = asyncio.Event()

    async def start(self) -> asyncio.Task[None]:
        """Recover the jobs of a former backend, then begin to work.

        Returns:
            The task of the work. It ends only by `drain`, or with the error that stopped it.
        """
        self._ledger.begin()
        await self._engine.end_former_workers()
        self.store.drop_drafts()
        try:
            await self._ledger.call(self._ledger.promises.keep)
        except StorageFault as fault:
            log.warning("recovery_waits", why=fault.message)
        self._working: asyncio.Task[None] = asyncio.create_task(self._work())
        return self._working

    async def drain(self) -> None:
        """Refuse new jobs, put the running job back and end all watching. Reading goes on.

        Call it after `start`.
        """
        self._ledger.is_draining = True
        self._wake.set()
        self._ledger.watched.wake_all()
        await self._engine.close()
        (failure,) = await asyncio.gather(self._working, return_exceptions=True)
        if failure:
            log.error("work_failed", why=repr(failure))

    async def close(self) -> None:
        """Close the journal. Call it after `drain`, when all reads have ended."""
        await self._ledger.close()

    @property
    def is_model_loaded(self) -> bool:
        """Say whether a worker holds a model, so that a job starts at once."""
        return self._engine.is_model_loaded

    async def admit(self, shot: Shot) -> None:
        """Refuse a shot if the disk has no room for it, or if it cannot fit the device.

        `create` checks the length of the queue, together with the entry into the journal.

        Raises:
            InvalidShot: The shot does not fit the device's memory in any way.
            Draining: The backend is stopping.
            DiskFull: The state folder's disk has too few free bytes.
        """
        self._ledger.check_draining()
        folder = self.catalogue.find(shot.model).folder
        await asyncio.to_thread(check_memory, shot, folder, self._device)
        self.store.empty_trash(self._settings.min_free_bytes)
        free = free_bytes(self.store.root)
        if free < self._settings.min_free_bytes:
            raise DiskFull(
                f"{free >> 20} MiB are free on the disk of the takes, and "
                f"{self._settings.min_free_bytes >> 20} MiB are needed: free some space"
            )

    async def create(self, shot: Shot, request_sha256: str, request_id: str | None) -> Job:
        """Queue a shot. See `Journal.create`.

        Raises:
            Draining: The backend is stopping.
            QueueFull: Too many jobs wait.
        """
        self._ledger.check_draining()
        unknown_words = unknown_words_of(shot, self.catalogue.find(shot.model).limits)
        job, is_new = await self._ledger.call(
            self._create_within_limit, shot, request_sha256, request_id, unknown_words
        )
        if is_new:
            log.info("job_created", job=job.id, model=shot.model, num_layers=len(shot.layers))
            self._wake.set()
        return self._ledger.promises.as_asked(job)

    def _create_within_limit(
        self,
        shot: Shot,
        request_sha256: str,
        request_id: str | None,
        unknown_words: tuple[UnknownWords, ...],
    ) -> tuple[Job, bool]:
        """Count and enter in one step on the journal's thread, so that calls cannot overtake."""
        known = self._journal.find_request(request_id, request_sha256) if request_id else None
        if known:
            return known, False
        num_queued = self._journal.count(JobState.QUEUED)
        if num_queued >= self._settings.max_queued:
            raise QueueFull(
                f"{num_queued} jobs wait, and the limit is {self._settings.max_queued}: cancel "
                "some or wait"
            )
        return self._journal.create(shot, request_sha256, time.time(), request_id, unknown_words)

    async def cancel(self, job_id: str) -> Job:
        """Cancel a job. See `Journal.cancel`.

        A full disk never refuses a cancel. The cancel takes effect at once, and is written when the
        disk accepts it.
        """
        try:
            job = await self._ledger.call(self._journal.cancel, job_id, time.time())
        except StorageFault as fault:
            log.warning("cancel_waits", job=job_id, why=fault.message)
            self._ledger.promises.remember(job_id)
            job = await self.get(job_id)
        self._ledger.ring(job_id)
        if job.state is JobState.CANCELLING:
            await self._engine.cancel(job.id, job.attempt)
        return job

    async def _work(self) -> None:
        try:
            await self._ledger.call(tidy, self._journal, self.store)
        except (StorageFault, OSError) as failure:
            log.warning("store_not_swept", why=str(failure))
        try:
            while not self._ledger.is_draining:
                await self._work_on_next()
        except StorageFault as fault:
            # This happens only while draining. The next start finds the attempt and puts it back.
            log.warning("attempt_left", why=fault.message)

    async def _work_on_next(self) -> None:
        self._wake.clear()
        job = await self._ledger.insist_after_promises(
            lambda: self._journal.begin_next(time.time())
        )
        if job is None:
            await self._wake.wait()
            return
        self._ledger.ring(job.id)
        log.info("attempt_began", job=job.id, attempt=job.attempt)
        try:
            await self._attempts.run(job)
        except StaleAttempt as stale:
            log.warning("message_refused", job=job.id, why=str(stale))
        except DataLoss as damaged:
            await self._ledger.insist(self._journal.bury, job.id, damaged, time.time())
        self._ledger.ring(job.id)
