"""The durable truth about jobs: SQLite in WAL mode, one writer, every transition with its event.

A journal belongs to one thread at a time and, by SQLite's exclusive lock, to one process. A method
that returns has written its change to disk (synchronous FULL). One that raises has changed nothing.
"""

import secrets
from collections.abc import Iterator
from contextlib import contextmanager

from layert2v_backend.errors import DataLoss, StaleAttempt
from layert2v_backend.jobs import Job
from layert2v_backend.journal_reading import JournalReader
from layert2v_backend.journal_rows import ARTIFACT_COLUMNS, JOB_COLUMNS, artifact_row, event_body
from layert2v_backend.json_text import to_json
from layert2v_backend.pairing import Pair
from layert2v_backend.strikes import Attempt, num_strikes
from layert2v_backend.worker_protocol import Finished
from layert2v_domain.job import NEXT_STATES, JobError, JobState, Progress
from layert2v_domain.shot import Shot
from layert2v_words import UnknownWords

_WITH_WORKER = (JobState.RUNNING, JobState.CANCELLING)


class Journal(JournalReader):
    """Jobs, attempts, events and artifacts."""

    @contextmanager
    def _transaction(self) -> Iterator[None]:
        with self._faults():
            self._db.execute("BEGIN IMMEDIATE")
            try:
                yield
                self._db.execute("COMMIT")
            finally:
                if self._db.in_transaction:
                    self._db.execute("ROLLBACK")

    def create(
        self,
        shot: Shot,
        request_sha256: str,
        now: float,
        request_id: str | None = None,
        unknown_words: tuple[UnknownWords, ...] = (),
    ) -> tuple[Job, bool]:
        """Queue a shot, or find the job that the same request created before.

        Returns:
            The job, and whether it is new.

        Raises:
            RequestIdReused: The request id came with another request.
            StorageFault: Nothing was stored.
        """
        if request_id and (job := self.find_request(request_id, request_sha256)):
            return job, False
        job_id = secrets.token_hex(8)
        with self._transaction():
            self._db.execute(
                "INSERT INTO job (id, state, shot, request_id, request_sha256, create_time, "
                "update_time, unknown_words) VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
                (
                    job_id,
                    JobState.QUEUED,
                    to_json(shot),
                    request_id,
                    request_sha256,
                    now,
                    now,
                    to_json(unknown_words),
                ),
            )
            self._append(job_id, 0, JobState.QUEUED, now)
        return self.get(job_id), True

    def begin_next(self, now: float) -> Job | None:
        """Give the oldest queued job its next attempt, or None if no job waits.

        Damaged jobs become FAILED.
        """
        job = self._oldest_queued(now)
        if job is None:
            return None
        with self._transaction():
            self._db.execute("UPDATE job SET attempt = attempt + 1 WHERE id = ?", (job.id,))
            self._db.execute(
                "INSERT INTO attempt (job, number, begin_time, outcome) "
                "VALUES (?, ?, ?, 'running')",
                (job.id, job.attempt + 1, now),
            )
            self._enter(job, JobState.RUNNING, job.attempt + 1, now)
        return self.get(job.id)

    def _oldest_queued(self, now: float) -> Job | None:
        while rows := self._rows(
            "SELECT id FROM job WHERE state = ? ORDER BY number LIMIT 1", (JobState.QUEUED,)
        ):
            job_id = rows[0][0]
            try:
                return self.get(job_id)
            except DataLoss as damaged:
                self.bury(job_id, damaged, now)
        return None

    def bury(self, job_id: str, damaged: DataLoss, now: float) -> None:
        """End a job as FAILED whose row cannot be read except for its id and state.

        Raises:
            StorageFault: Nothing was stored.
        """
        with self._transaction():
            self._db.execute(
                "UPDATE job SET error = ?, state = ? WHERE id = ?",
                (to_json(JobError(damaged.reason, damaged.message)), JobState.FAILED, job_id),
            )
            self._db.execute(
                "UPDATE attempt SET end_time = ?, outcome = 'failed' "
                "WHERE job = ? AND outcome = 'running'",
                (now, job_id),
            )
            self._append(job_id, 0, JobState.FAILED, now)

    def add_progress(self, job_id: str, attempt: int, progress: Progress, now: float) -> None:
        """Write progress of a live attempt.

        Raises:
            StaleAttempt: The job has ended or has another attempt.
            StorageFault: Nothing was stored.
        """
        self._live(job_id, attempt)
        with self._transaction():
            self._db.execute(
                "UPDATE attempt SET furthest = max(furthest, ?) WHERE job = ? AND number = ?",
                (progress.fraction, job_id, attempt),
            )
            self._append(job_id, attempt, progress, now)

    def succeed(self, job_id: str, attempt: int, finished: Finished, now: float) -> Job:
        """Publish all of a take, with its artifacts, report and terminal event, or nothing.

        A job that is being cancelled becomes CANCELLED instead.

        Raises:
            StaleAttempt: The job has ended or has another attempt.
            StorageFault: Nothing was stored.
            DataLoss: It could not be read back. Nothing was stored.
            sqlite3.IntegrityError: Two artifacts have one path. Nothing was stored.
        """
        job = self._live(job_id, attempt)
        if job.state is JobState.CANCELLING:
            return self.stop(job_id, attempt, now)
        with self._transaction():
            self._db.executemany(
                f"INSERT INTO artifact (job, id, {ARTIFACT_COLUMNS}) "
                f"VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
                [(job_id, artifact.id, *artifact_row(artifact)) for artifact in finished.artifacts],
            )
            self._db.execute(
                "UPDATE job SET report = ?, seconds = ? WHERE id = ?",
                (
                    to_json(finished.report) if finished.report else None,
                    to_json(finished.seconds),
                    job_id,
                ),
            )
            self._db.execute("UPDATE pair SET counter = counter + 1")
            self._end_attempt(job_id, attempt, "succeeded", now)
            self._enter(job, JobState.SUCCEEDED, attempt, now)
            self.artifacts(job_id)
            return self.get(job_id)

    def fail(self, job_id: str, attempt: int, error: JobError, now: float) -> Job:
        """End a job as FAILED, or as CANCELLED if it is being cancelled.

        Raises:
            StaleAttempt: The job has ended or has another attempt.
            StorageFault: Nothing was stored.
        """
        job = self._live(job_id, attempt)
        if job.state is JobState.CANCELLING:
            return self.stop(job_id, attempt, now)
        with self._transaction():
            self._end_attempt(job_id, attempt, "failed", now)
            self._fail(job, attempt, error, now)
        return self.get(job_id)

    def stop(self, job_id: str, attempt: int, now: float) -> Job:
        """End a job that is being cancelled.

        Raises:
            StaleAttempt: The job has ended or has another attempt.
            StorageFault: Nothing was stored.
        """
        job = self._live(job_id, attempt)
        with self._transaction():
            self._end_attempt(job_id, attempt, "cancelled", now)
            self._enter(job, JobState.CANCELLED, attempt, now)
        return self.get(job_id)

    def lose(self, job_id: str, attempt: int, why: str, max_lost: int, now: float) -> Job:
        """Queue a job again whose worker was lost. After `max_lost` deaths it is FAILED.

        Deaths count from the last attempt that made new progress. See `num_strikes`.

        Raises:
            StaleAttempt: The job has ended or has another attempt.
            StorageFault: Nothing was stored.
        """
        job = self._live(job_id, attempt)
        if job.state is JobState.CANCELLING:
            return self.stop(job_id, attempt, now)
        with self._transaction():
            self._end_attempt(job_id, attempt, "lost", now)
            ended = self._rows(
                "SELECT outcome, furthest FROM attempt WHERE job = ? ORDER BY number", (job_id,)
            )
            strikes = num_strikes([Attempt(*row) for row in ended])
            self._append(job_id, 0, f"Attempt {attempt} was lost: {why}.", now)
            if strikes < max_lost:
                self._enter(job, JobState.QUEUED, 0, now)
            else:
                message = (
                    f"{strikes} attempts in a row were lost without getting further, last because "
                    f"{why}: try a smaller shot, or see worker.log in the state folder"
                )
                self._fail(job, 0, JobError("WORKER_LOST", message), now)
        return self.get(job_id)

    def put_back(self, job: Job, now: float) -> None:
        """Queue a job again whose worker was stopped with the backend. This is no loss."""
        with self._transaction():
            self._end_attempt(job.id, job.attempt, "interrupted", now)
            if job.state is JobState.CANCELLING:
                self._enter(job, JobState.CANCELLED, 0, now)
            else:
                self._append(job.id, 0, "The backend was stopped, so the job starts again.", now)
                self._enter(job, JobState.QUEUED, 0, now)

    def recover(self, max_lost: int, now: float) -> list[str]:
        """Put back every job that a former backend left with a worker.

        A backend that stops cleanly leaves no such job, so that backend died, perhaps because of
        the job. That is a lost attempt, and `max_lost` of them end the job. See `lose`.

        Returns:
            The ids of these jobs.

        Raises:
            StorageFault: Some jobs are left. Call this again.
        """
        rows = self._rows(
            f"SELECT {JOB_COLUMNS} FROM job WHERE state IN (?, ?) ORDER BY number", _WITH_WORKER
        )
        for row in rows:
            try:
                job = self._job(row)
            except DataLoss as damaged:
                self.bury(row[0], damaged, now)
            else:
                self.lose(job.id, job.attempt, "the backend died while the job ran", max_lost, now)
        return [row[0] for row in rows]

    def cancel(self, job_id: str, now: float) -> Job:
        """Cancel a queued job, ask a running job to stop, or leave an ended job unchanged.

        Raises:
            UnknownJob: The job does not exist.
            StorageFault: Nothing was stored.
        """
        job = self.get(job_id)
        goals = {JobState.QUEUED: JobState.CANCELLED, JobState.RUNNING: JobState.CANCELLING}
        if job.state in goals:
            with self._transaction():
                self._enter(job, goals[job.state], 0, now)
        return self.get(job_id)

    def set_pair(self, pair: Pair) -> None:
        """Record which store this journal belongs to from now on."""
        with self._transaction():
            self._db.execute("DELETE FROM pair")
            self._db.execute(
                "INSERT INTO pair (id, counter) VALUES (?, ?)", (pair.id, pair.counter)
            )

    def _live(self, job_id: str, attempt: int) -> Job:
        """Give a job that only its present attempt may change, or raise StaleAttempt."""
        job = self.get(job_id)
        if job.state not in _WITH_WORKER or job.attempt != attempt:
            raise StaleAttempt(
                f"attempt {attempt} of jobs/{job_id} is over: the job is {job.state} in attempt "
                f"{job.attempt}"
            )
        return job

    def _fail(self, job: Job, attempt: int, error: JobError, now: float) -> None:
        self._db.execute("UPDATE job SET error = ? WHERE id = ?", (to_json(error), job.id))
        self._enter(job, JobState.FAILED, attempt, now)

    def _end_attempt(self, job_id: str, attempt: int, outcome: str, now: float) -> None:
        self._db.execute(
            "UPDATE attempt SET end_time = ?, outcome = ? WHERE job = ? AND number = ?",
            (now, outcome, job_id, attempt),
        )

    def _enter(self, job: Job, state: JobState, attempt: int, now: float) -> None:
        assert state in NEXT_STATES[job.state], f"{job.state} does not lead to {state}"
        self._db.execute("UPDATE job SET state = ? WHERE id = ?", (state, job.id))
        self._append(job.id, attempt, state, now)

    def _append(
        self, job_id: str, attempt: int, what: JobState | Progress | str, now: float
    ) -> None:
        ((sequence,),) = self._db.execute(
            "UPDATE job SET last_sequence = last_sequence + 1, update_time = ? WHERE id = ? "
            "RETURNING last_sequence",
            (now, job_id),
        ).fetchall()
        self._db.execute(
            "INSERT INTO event (job, sequence, attempt, time, kind, body) "
            "VALUES (?, ?, ?, ?, ?, ?)",
            (job_id, sequence, attempt, now, *event_body(what)),
        )
