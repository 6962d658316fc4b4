"""The journal's queries for jobs, histories and files. Each row is read on its own.

A row that cannot be read affects its own job only. Lists leave it out, and a query for that job is
refused.
"""

import sqlite3
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import structlog

from layert2v_backend.errors import DataLoss, RequestIdReused, UnknownJob
from layert2v_backend.faults import fault_of_sqlite
from layert2v_backend.jobs import Artifact, Job, JobEvent
from layert2v_backend.journal_files import open_journal
from layert2v_backend.journal_rows import (
    ARTIFACT_COLUMNS,
    JOB_COLUMNS,
    artifact_of,
    event_of,
    job_of,
    unreadable_event,
)
from layert2v_backend.pairing import Pair
from layert2v_domain.job import JobState

_ALL_JOBS = 2**63 - 1
"""A number above every job's number."""

log = structlog.get_logger()


class JournalReader:
    """Reads jobs, events and artifacts."""

    def __init__(self, path: Path) -> None:
        """Open or create the journal and lock it for this process.

        Raises:
            CannotServe: The journal cannot be opened. See `open_journal`.
        """
        self._path = path
        self._db = open_journal(path)
        self._told: set[str] = set()

    def close(self) -> None:
        """Close the file, which frees its lock."""
        self._db.close()

    @contextmanager
    def _faults(self) -> Iterator[None]:
        """Turn errors of the disk into the backend's own."""
        try:
            yield
        except sqlite3.Error as failure:
            fault = fault_of_sqlite(failure, self._path)
            if fault is None:
                raise
            raise fault from failure

    def _rows(self, query: str, parameters: Sequence[Any] = ()) -> list[Any]:
        with self._faults():
            return self._db.execute(query, parameters).fetchall()

    def find_request(self, request_id: str, request_sha256: str) -> Job | None:
        """Find the job that a request created.

        Raises:
            RequestIdReused: The request id came with another request.
        """
        found = self._rows("SELECT id, request_sha256 FROM job WHERE request_id = ?", (request_id,))
        for job_id, first_sha256 in found:
            if first_sha256 != request_sha256:
                raise RequestIdReused(
                    f"request_id {request_id} was used for another shot (jobs/{job_id}): "
                    f"make a new UUID for each new shot"
                )
            return self.get(job_id)
        return None

    def get(self, job_id: str) -> Job:
        """Read one job.

        Raises:
            UnknownJob: The job does not exist.
            DataLoss: Its row is damaged.
        """
        for row in self._rows(f"SELECT {JOB_COLUMNS} FROM job WHERE id = ?", (job_id,)):
            return self._job(row)
        raise UnknownJob(f"there is no job jobs/{job_id}: list the jobs to see which exist")

    def _job(self, row: Sequence[Any]) -> Job:
        """Read a row of `JOB_COLUMNS`.

        Raises:
            DataLoss: The row is damaged. The log says once how.
        """
        try:
            return job_of(row)
        except ValueError as failure:
            if row[0] not in self._told:
                self._told.add(row[0])
                log.error("job_unreadable", job=row[0], why=str(failure))
            raise DataLoss(
                f"the entry of jobs/{row[0]} is damaged: generate the shot again. All other jobs "
                f"are unaffected"
            ) from failure

    def find_jobs(self, job_ids: Sequence[str]) -> dict[str, Job]:
        """Read several jobs by id in one query. Jobs that do not exist are left out.

        Raises:
            DataLoss: The row of one is damaged.
        """
        marks = ", ".join("?" * len(job_ids))
        rows = self._rows(f"SELECT {JOB_COLUMNS} FROM job WHERE id IN ({marks})", job_ids)
        return {row[0]: self._job(row) for row in rows}

    def list_jobs(self, limit: int, before: int | None = None) -> list[tuple[int, Job]]:
        """List the jobs with numbers below `before`, newest first, with their numbers.

        Damaged jobs are left out.
        """
        found: list[tuple[int, Job]] = []
        with self._faults():
            for number, *row in self._db.execute(
                f"SELECT number, {JOB_COLUMNS} FROM job WHERE number < ? ORDER BY number DESC",
                (before if before is not None else _ALL_JOBS,),
            ):
                with suppress(DataLoss):
                    found.append((number, self._job(row)))
                if len(found) >= limit:
                    break
        return found

    def count(self, *states: JobState) -> int:
        """Count the jobs in any of `states`."""
        marks = ", ".join("?" * len(states))
        ((number,),) = self._rows(f"SELECT count(*) FROM job WHERE state IN ({marks})", states)
        return int(number)

    def events(self, job_id: str, after: int, limit: int) -> list[JobEvent]:
        """Read the events of a job after sequence number `after`, in order.

        A damaged event keeps its place and says that it is damaged.
        """
        rows = self._rows(
            "SELECT sequence, attempt, time, kind, body FROM event WHERE job = ? AND sequence > ? "
            "ORDER BY sequence LIMIT ?",
            (job_id, after, limit),
        )
        return [_event(row) for row in rows]

    def artifacts(self, job_id: str, after: str = "", limit: int = -1) -> list[Artifact]:
        """List the artifacts of a job in path order, after path `after`. Limit -1 means all.

        Raises:
            DataLoss: A row is damaged, so the take is not complete.
        """
        rows = self._rows(
            f"SELECT {ARTIFACT_COLUMNS} FROM artifact WHERE job = ? AND path > ? "
            f"ORDER BY path LIMIT ?",
            (job_id, after, limit),
        )
        return [_artifact(job_id, row) for row in rows]

    def find_artifact(self, job_id: str, artifact_id: str) -> Artifact | None:
        """Read one artifact, or give None if it does not exist.

        Raises:
            DataLoss: Its row is damaged.
        """
        rows = self._rows(
            f"SELECT {ARTIFACT_COLUMNS} FROM artifact WHERE job = ? AND id = ?",
            (job_id, artifact_id),
        )
        return _artifact(job_id, rows[0]) if rows else None

    def referenced(self) -> set[str]:
        """List the SHA-256 of every artifact."""
        return {sha256 for (sha256,) in self._rows("SELECT DISTINCT sha256 FROM artifact")}

    def pair(self) -> Pair | None:
        """Give the pair with this journal's store, or None if it has met no store."""
        rows = self._rows("SELECT id, counter FROM pair")
        return Pair(*rows[0]) if rows else None


def _event(row: Sequence[Any]) -> JobEvent:
    sequence, attempt, time, _, _ = row
    try:
        return event_of(*row)
    except ValueError as failure:
        log.error("event_unreadable", sequence=sequence, why=str(failure))
        return unreadable_event(sequence, attempt, time)


def _artifact(job_id: str, row: Sequence[Any]) -> Artifact:
    try:
        return artifact_of(row)
    except ValueError as failure:
        raise DataLoss(
            f"the list of files of jobs/{job_id} is damaged ({row[0]}): generate the take again"
        ) from failure
