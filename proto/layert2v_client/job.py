"""Jobs and their events, as the client sees them. Mirrors `layert2v/v1/job.proto`."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime

from layert2v_domain.job import FinishingReport, JobError, JobState, Progress
from layert2v_domain.shot import Shot
from layert2v_words import UnknownWords


@dataclass(frozen=True)
class Job:
    """The backend's unit of work: one job makes one take of one shot."""

    name: str
    """`jobs/{job}`."""
    shot: Shot
    """The shot with all defaults filled in."""
    state: JobState
    """Where the job is."""
    attempt: int = 0
    """How often a worker has begun it."""
    last_sequence: int = 0
    """Last event of this job."""
    create_time: datetime | None = None
    """When it was acknowledged, UTC."""
    update_time: datetime | None = None
    """When it last changed, UTC."""
    error: JobError | None = None
    """Present when failed."""
    report: FinishingReport | None = None
    """Present when succeeded and finishing ran."""
    seconds: Mapping[str, float] = field(default_factory=dict)
    """Seconds per stage, keyed by the stage's word, when succeeded."""
    unknown_words: tuple[UnknownWords, ...] = ()
    """Prompts that the model's vocabulary did not cover when the job was created."""


@dataclass(frozen=True)
class JobEvent:
    """One entry of a job's history; exactly one of state, progress and message is present."""

    sequence: int
    """Per job, gapless, from 1."""
    attempt: int
    """The attempt that wrote it; 0: the front door."""
    time: datetime | None
    """When it was written, UTC."""
    state: JobState | None = None
    """A change of state."""
    progress: Progress | None = None
    """Progress."""
    message: str | None = None
    """A sentence for the log."""
