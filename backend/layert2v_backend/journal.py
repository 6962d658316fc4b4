"""The durable truth about jobs: SQLite in WAL mode, one writer, every transition with its event.

A journal belongs to one thread at a time and, by SQLite's exclusive lock, to one process. What a
method has returned is on disk (synchronous FULL); what it raised has not happened.
"""

import secrets
import sqlite3
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from layert2v_backend.errors import CannotServe, DiskFull, RequestIdReused, StaleAttempt, UnknownJob
from layert2v_backend.jobs import (
    NEXT_STATES,
    Artifact,
    Finished,
    Job,
    JobError,
    JobEvent,
    JobProgress,
    JobState,
    Shot,
    to_json,
)
from layert2v_backend.journal_rows import (
    ARTIFACT_COLUMNS,
    JOB_COLUMNS,
    MIGRATIONS,
    artifact_of,
    artifact_row,
    event_body,
    event_of,
    job_of,
)
from layert2v_words import UnknownWords

_LOCK_WAIT_S = 1.0
"""How long to wait for a backend that is just leaving the state folder."""


class Journal:
    """Jobs, attempts, events and artifacts."""

    def __init__(self, path: Path) -> None:
        """Open or create the journal and take it for this process.

        Raises:
            CannotServe: Another backend has it, it is damaged, or written by a newer version.
        """
        try:
            self._db = sqlite3.connect(
                path, timeout=_LOCK_WAIT_S, isolation_level=None, check_same_thread=False
            )
            self._db.execute("PRAGMA locking_mode = EXCLUSIVE")
            self._db.execute("PRAGMA journal_mode = WAL")
            self._db.execute("PRAGMA synchronous = FULL")
            self._db.execute("PRAGMA foreign_keys = ON")
            self._migrate(path)
        except sqlite3.DatabaseError as failure:
            raise CannotServe(_opening_failure(path, failure)) from failure

    def _migrate(self, path: Path) -> None:
        (version,) = self._db.execute("PRAGMA user_version").fetchone()
        if version > len(MIGRATIONS):
            raise CannotServe(
                f"the journal {path} has version {version}, this backend knows {len(MIGRATIONS)}: "
                f"install a newer layert2v or name another folder with --state"
            )
        self._db.execute("BEGIN EXCLUSIVE")
        self._db.execute("COMMIT")
        for number, script in enumerate(MIGRATIONS[version:], start=version + 1):
            self._db.executescript(f"BEGIN; {script} PRAGMA user_version = {number}; COMMIT;")

    def close(self) -> None:
        """Close the file; the lock goes with it."""
        self._db.close()

    @contextmanager
    def _transaction(self) -> Iterator[None]:
        try:
            self._db.execute("BEGIN IMMEDIATE")
            try:
                yield
                self._db.execute("COMMIT")
            finally:
                if self._db.in_transaction:
                    self._db.execute("ROLLBACK")
        except sqlite3.OperationalError as failure:
            if failure.sqlite_errorname in ("SQLITE_FULL", "SQLITE_IOERR_WRITE"):
                raise DiskFull(
                    "the disk of the state folder is full: free some space and try again"
                ) from failure
            raise

    def create(
        self,
        shot: Shot,
        request_sha256: str,
        now: float,
        request_id: str | None = None,
        unknown_words: tuple[UnknownWords, ...] = (),
    ) -> tuple[Job, bool]:
        """Queue a shot, or find the job that the same request has made before.

        Returns:
            The job, and whether it is new.

        Raises:
            RequestIdReused: The request id came with another request.
            DiskFull: Nothing was stored.
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

    def find_request(self, request_id: str, request_sha256: str) -> Job | None:
        """Find the job that a request has made.

        Raises:
            RequestIdReused: The request id came with another request.
        """
        row = self._db.execute(
            "SELECT id, request_sha256 FROM job WHERE request_id = ?", (request_id,)
        ).fetchone()
        if row is None:
            return None
        if row[1] != request_sha256:
            raise RequestIdReused(
                f"request_id {request_id} was used for another shot (jobs/{row[0]}): "
                f"make a new UUID for each new shot"
            )
        return self.get(row[0])

    def get(self, job_id: str) -> Job:
        """Read one job.

        Raises:
            UnknownJob: There is none.
        """
        row = self._db.execute(f"SELECT {JOB_COLUMNS} FROM job WHERE id = ?", (job_id,)).fetchone()
        if row is None:
            raise UnknownJob(f"there is no job jobs/{job_id}: list the jobs to see which there are")
        return job_of(row)

    def find_jobs(self, job_ids: Sequence[str]) -> dict[str, Job]:
        """Read those of a few jobs that exist, by id, in one query."""
        marks = ", ".join("?" * len(job_ids))
        rows = self._db.execute(f"SELECT {JOB_COLUMNS} FROM job WHERE id IN ({marks})", job_ids)
        return {row[0]: job_of(row) for row in rows}

    def list_jobs(self, limit: int, before: int | None = None) -> list[tuple[int, Job]]:
        """List jobs, newest first, with their numbers; only those under number `before`."""
        rows = self._db.execute(
            f"SELECT number, {JOB_COLUMNS} FROM job WHERE number < ? ORDER BY number DESC LIMIT ?",
            (before if before is not None else 2**63 - 1, limit),
        ).fetchall()
        return [(row[0], job_of(row[1:])) for row in rows]

    def count(self, *states: JobState) -> int:
        """Count the jobs in any of `states`."""
        marks = ", ".join("?" * len(states))
        row = self._db.execute(f"SELECT count(*) FROM job WHERE state IN ({marks})", states)
        (number,) = row.fetchone()
        return int(number)

    def events(self, job_id: str, after: int, limit: int) -> list[JobEvent]:
        """Read the events of a job after sequence number `after`, in order."""
        rows = self._db.execute(
            "SELECT sequence, attempt, time, kind, body FROM event WHERE job = ? AND sequence > ? "
            "ORDER BY sequence LIMIT ?",
            (job_id, after, limit),
        ).fetchall()
        return [event_of(*row) for row in rows]

    def begin_next(self, now: float) -> Job | None:
        """Give the oldest queued job its next attempt; None where none waits."""
        row = self._db.execute(
            "SELECT id FROM job WHERE state = ? ORDER BY number LIMIT 1", (JobState.QUEUED,)
        ).fetchone()
        if row is None:
            return None
        job = self.get(row[0])
        with self._transaction():
            self._db.execute("UPDATE job SET attempt = attempt + 1 WHERE id = ?", (job.id,))
            self._db.execute(
                "INSERT INTO attempt (job, number, begin_time, outcome) "
                "VALUES (?, ?, ?, 'running')",
                (job.id, job.attempt + 1, now),
            )
            self._enter(job, JobState.RUNNING, job.attempt + 1, now)
        return self.get(job.id)

    def add_progress(self, job_id: str, attempt: int, progress: JobProgress, now: float) -> None:
        """Write progress of a live attempt.

        Raises:
            StaleAttempt: The job has ended or has another attempt.
            DiskFull: Nothing was stored.
        """
        self._live(job_id, attempt)
        with self._transaction():
            self._append(job_id, attempt, progress, now)

    def succeed(self, job_id: str, attempt: int, finished: Finished, now: float) -> Job:
        """Publish a take: all its artifacts, its report and the terminal event, or nothing.

        A job that is being cancelled becomes CANCELLED instead.

        Raises:
            StaleAttempt: The job has ended or has another attempt.
            DiskFull: Nothing was stored.
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
            self._end_attempt(job_id, attempt, "succeeded", now)
            self._enter(job, JobState.SUCCEEDED, attempt, now)
        return self.get(job_id)

    def fail(self, job_id: str, attempt: int, error: JobError, now: float) -> Job:
        """End a job as FAILED; one that is being cancelled becomes CANCELLED.

        Raises:
            StaleAttempt: The job has ended or has another attempt.
            DiskFull: Nothing was stored.
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
            DiskFull: Nothing was stored.
        """
        job = self._live(job_id, attempt)
        with self._transaction():
            self._end_attempt(job_id, attempt, "cancelled", now)
            self._enter(job, JobState.CANCELLED, attempt, now)
        return self.get(job_id)

    def lose(self, job_id: str, attempt: int, why: str, max_lost: int, now: float) -> Job:
        """Queue a job again whose worker was lost; with `max_lost` such attempts it is FAILED.

        Raises:
            StaleAttempt: The job has ended or has another attempt.
            DiskFull: Nothing was stored.
        """
        job = self._live(job_id, attempt)
        if job.state is JobState.CANCELLING:
            return self.stop(job_id, attempt, now)
        with self._transaction():
            self._end_attempt(job_id, attempt, "lost", now)
            (lost,) = self._db.execute(
                "SELECT count(*) FROM attempt WHERE job = ? AND outcome = 'lost'", (job_id,)
            ).fetchone()
            self._append(job_id, 0, f"Attempt {attempt} was lost: {why}.", now)
            if lost < max_lost:
                self._enter(job, JobState.QUEUED, 0, now)
            else:
                message = (
                    f"{lost} workers in a row were lost on this job, last because {why}: "
                    f"try a smaller shot, or see worker.log in the state folder"
                )
                self._fail(job, 0, JobError("WORKER_LOST", message), now)
        return self.get(job_id)

    def put_back(self, job: Job, now: float) -> None:
        """Queue a job again whose worker was stopped with the backend: not the worker's fault."""
        with self._transaction():
            self._end_attempt(job.id, job.attempt, "interrupted", now)
            if job.state is JobState.CANCELLING:
                self._enter(job, JobState.CANCELLED, 0, now)
            else:
                self._append(job.id, 0, "The backend was stopped; the job starts again.", now)
                self._enter(job, JobState.QUEUED, 0, now)

    def recover(self, now: float) -> list[str]:
        """Put back every job that a former backend left with a worker.

        Returns:
            The ids of these jobs.
        """
        rows = self._db.execute(
            f"SELECT {JOB_COLUMNS} FROM job WHERE state IN (?, ?) ORDER BY number",
            (JobState.RUNNING, JobState.CANCELLING),
        ).fetchall()
        for job in map(job_of, rows):
            self.put_back(job, now)
        return [row[0] for row in rows]

    def cancel(self, job_id: str, now: float) -> Job:
        """Cancel a queued job, ask a running one to stop, leave an ended one as it is.

        Raises:
            UnknownJob: There is none.
            DiskFull: Nothing was stored.
        """
        job = self.get(job_id)
        goals = {JobState.QUEUED: JobState.CANCELLED, JobState.RUNNING: JobState.CANCELLING}
        if job.state in goals:
            with self._transaction():
                self._enter(job, goals[job.state], 0, now)
        return self.get(job_id)

    def artifacts(self, job_id: str, after: str = "", limit: int = -1) -> list[Artifact]:
        """List the artifacts of a job in path order, after path `after`; limit -1: all."""
        rows = self._db.execute(
            f"SELECT {ARTIFACT_COLUMNS} FROM artifact WHERE job = ? AND path > ? "
            f"ORDER BY path LIMIT ?",
            (job_id, after, limit),
        ).fetchall()
        return [artifact_of(row) for row in rows]

    def find_artifact(self, job_id: str, artifact_id: str) -> Artifact | None:
        """Read one artifact; None where there is none."""
        row = self._db.execute(
            f"SELECT {ARTIFACT_COLUMNS} FROM artifact WHERE job = ? AND id = ?",
            (job_id, artifact_id),
        ).fetchone()
        return artifact_of(row) if row else None

    def referenced(self) -> set[str]:
        """List the SHA-256 of every artifact there is."""
        return {sha256 for (sha256,) in self._db.execute("SELECT DISTINCT sha256 FROM artifact")}

    def _live(self, job_id: str, attempt: int) -> Job:
        """The fence: a job as only its present attempt may change it."""
        job = self.get(job_id)
        is_with_worker = job.state in (JobState.RUNNING, JobState.CANCELLING)
        if not is_with_worker or job.attempt != attempt:
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
        self, job_id: str, attempt: int, what: JobState | JobProgress | str, now: float
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


def _opening_failure(path: Path, failure: sqlite3.DatabaseError) -> str:
    name = failure.sqlite_errorname
    if name.startswith("SQLITE_BUSY"):
        return (
            f"another backend already uses the state folder {path.parent}: "
            f"stop it or name another folder with --state"
        )
    if name.startswith(("SQLITE_NOTADB", "SQLITE_CORRUPT")):
        return f"the journal {path} is damaged ({failure}): move it away or restore it"
    return f"the journal {path} cannot be opened ({failure}): check the folder and its disk"
