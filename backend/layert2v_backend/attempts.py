"""Attempts at jobs: a task for a worker, its messages and its end, written to the journal."""

import asyncio
import time
import traceback
from contextlib import aclosing, suppress
from dataclasses import replace

import structlog

from layert2v_backend.artifacts import ArtifactStore
from layert2v_backend.engine import Engine
from layert2v_backend.errors import (
    DataLoss,
    ModelDamaged,
    StaleAttempt,
    StorageFault,
    UnknownModel,
    WorkerLost,
    WorkerNotStarted,
    words_of,
)
from layert2v_backend.jobs import Artifact, Job, take_path
from layert2v_backend.ledger import Ledger
from layert2v_backend.models import Catalogue
from layert2v_backend.worker_protocol import (
    Failed,
    Finished,
    StageProgress,
    Stopped,
    Task,
    WorkerMessage,
)
from layert2v_domain.job import JobError, JobState, Progress

_ETA_FROM = 0.08
"""Smallest fraction that gives a usable estimate. Before it, loading may have been skipped."""

log = structlog.get_logger()


class Attempts:
    """Runs attempts on an engine, one at a time, and writes how they ended."""

    def __init__(
        self,
        ledger: Ledger,
        store: ArtifactStore,
        catalogue: Catalogue,
        engine: Engine,
        max_lost: int,
    ) -> None:
        """Prepare to run attempts.

        Args:
            ledger: Holds the jobs.
            store: Holds their files.
            catalogue: The models of this backend.
            engine: The engine that runs tasks.
            max_lost: A job fails after this many workers died on it.
        """
        self._ledger, self._journal = ledger, ledger.journal
        self._store, self._catalogue = store, catalogue
        self._engine, self._max_lost = engine, max_lost

    async def run(self, job: Job) -> None:
        """Run a job's present attempt to its end and write how it ended.

        Raises:
            StaleAttempt: The job has another attempt by now.
            StorageFault: The backend is stopping and the end is not written.
            DataLoss: The job's row is damaged, so its end cannot be written.
        """
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
        # This is the border where a job meets its owner. A fault of the system or a bug fails this
        # job only, and the front door goes on.
        except Exception as failure:  # noqa: BLE001
            last = _failed_by(job, failure)
        if isinstance(last, Stopped):
            current = await self._ledger.insist(self._journal.get, job.id)
            if current.state is JobState.RUNNING:
                await self._lose(job, WorkerLost("the worker stopped without being asked"))
                return
        try:
            ended = await self._write_end(job, last)
        except (StaleAttempt, StorageFault):
            raise
        # The same border: a take that the journal does not take is this job's failure.
        except Exception as failure:  # noqa: BLE001
            ended = await self._write_end(job, _failed_by(job, failure))
        log.info("attempt_ended", job=job.id, attempt=job.attempt, state=ended.state.value)

    async def _write_end(self, job: Job, last: WorkerMessage) -> Job:
        now, write = time.time(), self._ledger.insist_after_promises
        if isinstance(last, Finished):
            ended = await write(self._journal.succeed, job.id, job.attempt, last, now)
            if ended.state is JobState.SUCCEEDED:
                await self._settle(job)
            return ended
        if isinstance(last, Failed):
            return await write(self._journal.fail, job.id, job.attempt, last.error, now)
        return await write(self._journal.stop, job.id, job.attempt, now)

    async def _settle(self, job: Job) -> None:
        """Let the store count the take that the journal has just published."""
        try:
            pair = await self._ledger.call(self._journal.pair)
            await asyncio.to_thread(self._store.settle, job.id, job.attempt, pair)
        except (StorageFault, OSError) as failure:
            log.warning("store_not_counted", job=job.id, why=str(failure))

    async def _lose(self, job: Job, lost: WorkerLost) -> None:
        write = self._ledger.insist_after_promises
        if self._ledger.is_draining:
            await write(lambda: self._journal.put_back(self._journal.get(job.id), time.time()))
            return
        log.warning("attempt_lost", job=job.id, attempt=job.attempt, why=str(lost))
        with suppress(OSError):
            await asyncio.to_thread(self._store.drop_drafts)
        await write(self._journal.lose, job.id, job.attempt, str(lost), self._max_lost, time.time())

    async def _follow(self, task: Task) -> WorkerMessage:
        """Run a task, write its progress to the journal, and return its last message."""
        begin = time.monotonic()
        async with aclosing(self._engine.run(task)) as messages:
            async for message in messages:
                if not isinstance(message, StageProgress):
                    return message
                await self._add_progress(task, message, time.monotonic() - begin)
        raise WorkerLost("the engine ended without a last message")

    async def _add_progress(self, task: Task, told: StageProgress, elapsed_s: float) -> None:
        fraction = told.fraction
        eta_s = elapsed_s / fraction - elapsed_s if fraction > _ETA_FROM else None
        progress = Progress(told.stage, told.step, told.num_steps, fraction, eta_s)
        try:
            await self._ledger.call(
                self._journal.add_progress, task.job_id, task.attempt, progress, time.time()
            )
        except StorageFault as fault:
            # A lost report of progress does no harm, but the job's end must be written.
            log.warning("progress_dropped", job=task.job_id, why=fault.message)
        self._ledger.ring(task.job_id)

    async def _task(self, job: Job) -> Task:
        """Complete an attempt's task.

        Raises:
            DataLoss: A kept layer's file is damaged.
            UnknownModel, ModelDamaged: The model was removed or damaged after the job was created.
        """
        model = self._catalogue.find(job.shot.model)
        kept: list[Artifact] = []
        sources: dict[str, list[Artifact]] = {}
        for layer_index, layer in enumerate(job.shot.layers):
            if layer.kept:
                job_id = layer.kept.job_id
                if job_id not in sources:
                    sources[job_id] = await self._ledger.call(self._journal.artifacts, job_id)
                kept += [
                    _carried_over(artifact, layer_index)
                    for artifact in sources[job_id]
                    if artifact.layer_index == layer.kept.layer_index
                ]
        for artifact in kept:
            await asyncio.to_thread(self._store.check, artifact.sha256, artifact.size_bytes)
        return Task(
            job_id=job.id,
            attempt=job.attempt,
            shot=job.shot,
            model_folder=str(model.folder),
            store=str(self._store.root),
            kept_artifacts=tuple(kept),
            unknown_words=job.unknown_words,
        )


def _failed_by(job: Job, failure: Exception) -> Failed:
    """Describe a failure of the front door itself, without Python's text or a path, and log it."""
    frames = traceback.format_tb(failure.__traceback__)[-8:]
    log.error("attempt_failed", job=job.id, kind=type(failure).__name__, frames=frames)
    why = "a fault of its own, see its log"
    if isinstance(failure, OSError):
        why = words_of(failure)
    return Failed(JobError("INTERNAL", f"the backend could not run the job ({why}): try again"))


def _carried_over(artifact: Artifact, layer_index: int) -> Artifact:
    path = take_path(artifact.kind, artifact.format, layer_index, artifact.frame_index)
    return replace(artifact, path=path, layer_index=layer_index)
