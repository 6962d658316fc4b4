"""Jobs and their events, as the client sees them. Mirrors `layert2v/v1/job.proto`."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime

from layert2v_domain.job import FinishingReport, JobError, JobState, Progress
from layert2v_domain.shot import Shot
from layert2v_words import UnknownWords


@dataclass(frozen=True)
class Job:
    """The backend's unit of work. One job makes one take of one shot."""

    name: str
    """`jobs/{job}`."""
    shot: Shot
    """The shot with all defaults filled in."""
    state: JobState
    """State of the job."""
    attempt: int = 0
    """Number of times that a worker has begun it."""
    last_sequence: int = 0
    """Sequence number of its last event."""
    create_time: datetime | None = None
    """Time of its acknowledgement, UTC."""
    update_time: datetime | None = None
    """Time of its last change, UTC."""
    error: JobError | None = None
    """The reason of its failure. Present when failed."""
    report: FinishingReport | None = None
    """The report of finishing. Present when succeeded and finishing ran."""
    seconds: Mapping[str, float] = field(default_factory=dict)
    """Seconds per stage, keyed by the stage's word. Present when succeeded."""
    unknown_words: tuple[UnknownWords, ...] = ()
    """Prompts that the model's vocabulary did not cover when the job was created."""


@dataclass(frozen=True)
class JobEvent:
    """One entry of a job's history. Exactly one of state, progress and message is present."""

    sequence: int
    """Number of the event within its job, gapless, from 1."""
    attempt: int
    """The attempt that wrote it. 0 means the front door."""
    time: datetime | None
    """Time of writing, UTC."""
    state: JobState | None = None
    """A change of state."""
    progress: Progress | None = None
    """Progress."""
    message: str | None = None
    """A sentence for the log."""
