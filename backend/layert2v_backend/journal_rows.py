"""The layout of the journal: its tables and columns, and rows to records and back."""

from collections.abc import Sequence
from dataclasses import fields, is_dataclass, replace
from typing import Any, TypeVar

from layert2v_backend.jobs import Artifact, Job, JobEvent
from layert2v_backend.json_text import from_json, to_json
from layert2v_domain.artifact import ArtifactFormat, ArtifactKind
from layert2v_domain.job import FinishingReport, JobError, JobState, Progress
from layert2v_domain.shot import LayerSpec, Shot
from layert2v_words import UnknownWords

Value = TypeVar("Value")

MIGRATIONS = (
    """
    CREATE TABLE job (
        number INTEGER PRIMARY KEY AUTOINCREMENT,
        id TEXT NOT NULL UNIQUE,
        state TEXT NOT NULL,
        attempt INTEGER NOT NULL DEFAULT 0,
        last_sequence INTEGER NOT NULL DEFAULT 0,
        shot TEXT NOT NULL,
        request_id TEXT UNIQUE,
        request_sha256 TEXT NOT NULL,
        create_time REAL NOT NULL,
        update_time REAL NOT NULL,
        error TEXT,
        report TEXT,
        seconds TEXT NOT NULL DEFAULT '{}'
    ) STRICT;
    CREATE INDEX job_state ON job (state, number);
    CREATE TABLE event (
        job TEXT NOT NULL REFERENCES job (id),
        sequence INTEGER NOT NULL,
        attempt INTEGER NOT NULL,
        time REAL NOT NULL,
        kind TEXT NOT NULL,
        body TEXT NOT NULL,
        PRIMARY KEY (job, sequence)
    ) STRICT, WITHOUT ROWID;
    CREATE TABLE attempt (
        job TEXT NOT NULL REFERENCES job (id),
        number INTEGER NOT NULL,
        begin_time REAL NOT NULL,
        end_time REAL,
        outcome TEXT NOT NULL,
        PRIMARY KEY (job, number)
    ) STRICT, WITHOUT ROWID;
    CREATE TABLE artifact (
        job TEXT NOT NULL REFERENCES job (id),
        path TEXT NOT NULL,
        id TEXT NOT NULL,
        kind TEXT NOT NULL,
        format TEXT NOT NULL,
        layer_index INTEGER NOT NULL,
        frame_index INTEGER NOT NULL,
        size_bytes INTEGER NOT NULL,
        sha256 TEXT NOT NULL,
        PRIMARY KEY (job, path),
        UNIQUE (job, id)
    ) STRICT, WITHOUT ROWID;
    """,
    "ALTER TABLE job ADD COLUMN unknown_words TEXT NOT NULL DEFAULT '[]';",
    """
    ALTER TABLE artifact ADD COLUMN checksums TEXT NOT NULL DEFAULT '';
    """,
    """
    ALTER TABLE attempt ADD COLUMN furthest REAL NOT NULL DEFAULT 0;
    CREATE TABLE pair (id TEXT NOT NULL, counter INTEGER NOT NULL) STRICT;
    """,
)
"""Scripts, numbered from 1. `PRAGMA user_version` says how many have been applied."""

JOB_COLUMNS = (
    "id, shot, state, attempt, last_sequence, create_time, update_time, error, report, seconds, "
    "unknown_words"
)
UNREADABLE_ENTRY = "This entry of the job's history is damaged."
ARTIFACT_COLUMNS = "path, kind, format, layer_index, frame_index, size_bytes, sha256, checksums"


_LATEST_TIME = 253402300799
"""Unix seconds of the last second of the year 9999, where the wire's timestamps end."""
_LONG = frozenset({"seed", "last_sequence", "sequence", "size_bytes"})
"""Whole numbers of 64 bits on the wire. All others have 32."""


def _checked(value: Value, name: str = "") -> Value:
    """Give a value whose numbers fit the wire.

    Raises:
        ValueError: A number does not fit, so the row is damaged.
    """
    if isinstance(value, int) and not isinstance(value, bool):
        limit = 2 ** (63 if name in _LONG else 31)
        if not -limit <= value < limit:
            raise ValueError(f"{name} is {str(value)[:20]}, beyond {limit}")
    elif isinstance(value, float) and name.endswith("time") and not 0 <= value <= _LATEST_TIME:
        raise ValueError(f"{name} is {value:g}, which no calendar holds")
    elif is_dataclass(value):
        for field in fields(value):
            _checked(getattr(value, field.name), field.name)
    elif isinstance(value, tuple):
        for each in value:
            _checked(each, name)
    return value


def job_of(row: Sequence[Any]) -> Job:
    """Read a row of `JOB_COLUMNS`.

    Raises:
        ValueError: The row is damaged.
    """
    job_id, shot, state, attempt, sequence, created, updated, error, report, seconds, words = row
    job = Job(
        id=job_id,
        shot=_shot_of(shot),
        state=JobState(state),
        attempt=attempt,
        last_sequence=sequence,
        create_time=created,
        update_time=updated,
        error=from_json(JobError, error) if error else None,
        report=from_json(FinishingReport, report) if report else None,
        seconds=from_json(dict, seconds),
        unknown_words=from_json(tuple[UnknownWords, ...], words),
    )
    return _checked(job)


def _shot_of(text: str) -> Shot:
    """Read a job's shot. Rows of earlier versions name the jobs of kept layers by their ids.

    Raises:
        ValueError: The shot is damaged, or leaves a field to the model's defaults.
    """
    shot = from_json(Shot, text)
    if not shot.is_filled:
        raise ValueError("the shot lacks what the model's defaults had filled in")
    return replace(shot, layers=tuple(map(_with_job_name, shot.layers)))


def _with_job_name(layer: LayerSpec) -> LayerSpec:
    if layer.kept is None or layer.kept.job.startswith("jobs/"):
        return layer
    return replace(layer, kept=replace(layer.kept, job=f"jobs/{layer.kept.job}"))


def event_body(what: JobState | Progress | str) -> tuple[str, str]:
    """Write an event's kind and body."""
    if isinstance(what, JobState):
        return "state", what.value
    if isinstance(what, Progress):
        return "progress", to_json(what)
    return "message", what


def event_of(sequence: int, attempt: int, time: float, kind: str, body: str) -> JobEvent:
    """Read an event's row."""
    what: JobState | Progress | str = body
    if kind == "state":
        what = JobState(body)
    elif kind == "progress":
        what = _progress_of(body)
    return _checked(JobEvent(sequence, attempt, time, what))


def _progress_of(text: str) -> Progress:
    """Read progress. Rows of earlier versions say -1 if the time to the end is unknown."""
    progress = from_json(Progress, text)
    is_known = progress.eta_s is not None and progress.eta_s >= 0
    return progress if is_known else replace(progress, eta_s=None)


def unreadable_event(sequence: int, attempt: int, time: float) -> JobEvent:
    """Stand for an event whose row is damaged. Numbers that do not fit the wire become zero."""
    try:
        return _checked(JobEvent(sequence, attempt, time, UNREADABLE_ENTRY))
    except ValueError:
        return JobEvent(sequence, 0, 0.0, UNREADABLE_ENTRY)


def artifact_row(artifact: Artifact) -> tuple[Any, ...]:
    """Write a row of `ARTIFACT_COLUMNS`."""
    return (
        artifact.path,
        artifact.kind,
        artifact.format,
        artifact.layer_index,
        artifact.frame_index,
        artifact.size_bytes,
        artifact.sha256,
        artifact.checksums,
    )


def artifact_of(row: Sequence[Any]) -> Artifact:
    """Read a row of `ARTIFACT_COLUMNS`."""
    path, kind, form, *numbers_and_sums = row
    return _checked(Artifact(path, ArtifactKind(kind), ArtifactFormat(form), *numbers_and_sums))
