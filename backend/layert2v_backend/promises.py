"""Promises that the disk has not accepted yet: cancels, and the recovery of jobs.

The methods belong to the journal's thread, except `remember` and `as_asked`.
"""

import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from typing import ParamSpec, TypeVar

import structlog

from layert2v_backend.errors import DataLoss, UnknownJob
from layert2v_backend.jobs import Job
from layert2v_backend.journal import Journal
from layert2v_domain.job import JobState

P = ParamSpec("P")
R = TypeVar("R")

log = structlog.get_logger()


class Promises:
    """Keeps promises in memory while the journal cannot be written, and writes them first."""

    def __init__(self, journal: Journal, max_lost: int, on_kept: Callable[[str], None]) -> None:
        """Begin without promises.

        Args:
            journal: The journal to which they are written.
            max_lost: The limit of `Journal.recover`.
            on_kept: Called with each job whose cancel was written late.
        """
        self._journal, self._max_lost, self._on_kept = journal, max_lost, on_kept
        self._cancels: set[str] = set()
        self._is_recovered = False

    def remember(self, job_id: str) -> None:
        """Promise to cancel a job."""
        self._cancels.add(job_id)

    def as_asked(self, job: Job) -> Job:
        """Show a job as being cancelled if that is promised."""
        if job.id in self._cancels and not job.state.is_terminal:
            return replace(job, state=JobState.CANCELLING)
        return job

    def keep(self) -> None:
        """Write all promises.

        Raises:
            StorageFault: A promise could not be written. Call this again.
        """
        if not self._is_recovered:
            for job_id in self._journal.recover(self._max_lost, time.time()):
                log.info("job_recovered", job=job_id)
                self._on_kept(job_id)
            self._is_recovered = True
        for job_id in tuple(self._cancels):
            with suppress(UnknownJob, DataLoss):
                self._journal.cancel(job_id, time.time())
            self._cancels.discard(job_id)
            self._on_kept(job_id)

    def kept_before(self, call: Callable[P, R], *args: P.args, **kwargs: P.kwargs) -> R:
        """Write all promises, then call the journal, in one go on its thread.

        Raises:
            StorageFault: Some of it could not be written. Call it again.
        """
        self.keep()
        return call(*args, **kwargs)
