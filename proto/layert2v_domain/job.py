"""The states of a job, its stages, and how it ended. Mirrors `job.proto`."""

from dataclasses import dataclass
from enum import StrEnum


class JobState(StrEnum):
    """Where a job is in its life. Terminal states never change."""

    QUEUED = "queued"
    RUNNING = "running"
    CANCELLING = "cancelling"
    SUCCEEDED = "succeeded"
    FAILED = "failed"
    CANCELLED = "cancelled"

    @property
    def is_terminal(self) -> bool:
        """Whether the job has ended."""
        return not NEXT_STATES[self]


NEXT_STATES: dict[JobState, frozenset[JobState]] = {
    JobState.QUEUED: frozenset({JobState.RUNNING, JobState.CANCELLED}),
    JobState.RUNNING: frozenset(
        {JobState.QUEUED, JobState.CANCELLING, JobState.SUCCEEDED, JobState.FAILED}
    ),
    JobState.CANCELLING: frozenset({JobState.CANCELLED}),
    JobState.SUCCEEDED: frozenset(),
    JobState.FAILED: frozenset(),
    JobState.CANCELLED: frozenset(),
}
"""Back to QUEUED: the attempt was lost. From CANCELLING nothing but CANCELLED: who cancels does not
get a take after all."""


class JobStage(StrEnum):
    """What a running job is doing, in order."""

    UNKNOWN = "unknown"
    """The stage of a newer backend."""
    LOADING = "loading"
    ENCODING = "encoding"
    DENOISING = "denoising"
    DECODING = "decoding"
    FINISHING = "finishing"
    WRITING = "writing"


@dataclass(frozen=True)
class Progress:
    """How far a job has come."""

    stage: JobStage
    """What is being done."""
    step: int
    """Steps of this stage done."""
    num_steps: int
    """Steps of this stage in all; 0 where unknown."""
    fraction: float
    """Of the whole job, 0 to 1; it never falls within an attempt."""
    eta_s: float | None
    """Estimated seconds to the end; None where unknown."""


@dataclass(frozen=True)
class JobError:
    """Why a job failed."""

    reason: str
    """A stable word: MODEL_DAMAGED, WORKER_LOST, WORKER_NOT_STARTED, DISK_FULL, DISK_NOT_WRITABLE,
    DISK_FAILS, OUT_OF_MEMORY, NOT_FINITE, INTERNAL, DATA_LOSS."""
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
