"""Jobs, their events and reports. Mirrors `layert2v/v1/job.proto`."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum

from layert2v_client.shot import Shot
from layert2v_words import UnknownWords


class JobState(StrEnum):
    """Where a job is in its life."""

    QUEUED = "queued"
    RUNNING = "running"
    CANCELLING = "cancelling"
    SUCCEEDED = "succeeded"
    FAILED = "failed"
    CANCELLED = "cancelled"

    @property
    def is_terminal(self) -> bool:
        """Whether the state never changes again."""
        return self in (JobState.SUCCEEDED, JobState.FAILED, JobState.CANCELLED)


class JobStage(StrEnum):
    """What a running job is doing."""

    UNKNOWN = "unknown"
    LOADING = "loading"
    ENCODING = "encoding"
    DENOISING = "denoising"
    DECODING = "decoding"
    FINISHING = "finishing"
    WRITING = "writing"


@dataclass(frozen=True)
class JobError:
    """Why a job failed."""

    reason: str
    """A stable word in upper case, such as `DISK_FULL`."""
    message: str
    """One sentence for the artist, with the remedy."""


@dataclass(frozen=True)
class FinishingReport:
    """How well the finished stack composites back to the full video, and what it cost."""

    recomposition_before: float
    """PSNR in dB against the full video as generated, mean over frames."""
    recomposition_after: float
    """The same after finishing."""
    recomposition_worst: float
    """PSNR in dB of the worst frame after finishing."""
    worst_frame: int
    """Frame of `recomposition_worst`, from 0."""
    outline_ratio: float
    """Gradient of the background at the matte's contour over that around it; 1 is clean."""
    matte_change: float
    """Mean absolute change of alpha by finishing."""
    ghost_slope: float
    """How much of the foreground's light is left in the background; 0 is none."""
    spill: float
    """Colour outside the matte relative to inside."""
    soft_share: float
    """Share of pixels with alpha between 0.05 and 0.95."""
    empty_mattes: tuple[int, ...]
    """Foregrounds, from 1, whose matte is empty."""
    empty_frames: tuple[int, ...] = ()
    """Frames in which each foreground's matte is empty; () from an older backend."""


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
class Progress:
    """Progress within one stage."""

    stage: JobStage
    """What is being done."""
    step: int
    """Steps of this stage done."""
    num_steps: int
    """Steps of this stage in all; 0 where unknown."""
    fraction: float
    """Of the whole job, 0 to 1."""
    eta_s: float | None
    """Estimated seconds to the end; None where unknown."""


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
