"""The states, stages and ends of a job. Mirrors `job.proto`."""

from dataclasses import dataclass
from enum import StrEnum


class JobState(StrEnum):
    """The state of a job. Terminal states never change."""

    QUEUED = "queued"
    RUNNING = "running"
    CANCELLING = "cancelling"
    SUCCEEDED = "succeeded"
    FAILED = "failed"
    CANCELLED = "cancelled"

    @property
    def is_terminal(self) -> bool:
        """Say whether the job has ended."""
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
"""The states that may follow each state. A lost attempt leads back to QUEUED. CANCELLING leads "
"only to CANCELLED, because a user who cancels must not get a take after all."""


class JobStage(StrEnum):
    """The stages of a running job, in order."""

    UNKNOWN = "unknown"
    """A stage of a newer backend."""
    LOADING = "loading"
    ENCODING = "encoding"
    DENOISING = "denoising"
    DECODING = "decoding"
    FINISHING = "finishing"
    WRITING = "writing"


@dataclass(frozen=True)
class Progress:
    """The progress of a job."""

    stage: JobStage
    """The current stage."""
    step: int
    """Number of finished steps of this stage."""
    num_steps: int
    """Number of steps of this stage. 0 if unknown."""
    fraction: float
    """Progress of the whole job, 0 to 1. It never falls within an attempt."""
    eta_s: float | None
    """Estimated seconds to the end. None if unknown."""


@dataclass(frozen=True)
class JobError:
    """The reason of a job's failure."""

    reason: str
    """A stable word: MODEL_DAMAGED, WORKER_LOST, WORKER_NOT_STARTED, DISK_FULL, DISK_NOT_WRITABLE,
    DISK_FAILS, OUT_OF_MEMORY, NOT_FINITE, INTERNAL, DATA_LOSS."""
    message: str
    """One sentence for the artist, with the remedy."""


@dataclass(frozen=True)
class FinishingReport:
    """The quality of the finished stack against the full video, and the cost of finishing."""

    recomposition_before: float
    """PSNR in dB against the full video as generated, mean over frames."""
    recomposition_after: float
    """Mean PSNR in dB after finishing."""
    recomposition_worst: float
    """PSNR in dB of the worst frame after finishing."""
    worst_frame: int
    """Frame of `recomposition_worst`, from 0."""
    outline_ratio: float
    """Gradient of the background at the matte's contour over that around it. 1 is clean."""
    matte_change: float
    """Mean absolute change of alpha by finishing."""
    ghost_slope: float
    """Share of the foreground's light that is left in the background. 0 is none."""
    spill: float
    """Colour outside the matte relative to the colour inside."""
    soft_share: float
    """Share of pixels with alpha between 0.05 and 0.95."""
    empty_mattes: tuple[int, ...]
    """Numbers of the foregrounds, from 1, whose matte is empty."""
    empty_frames: tuple[int, ...] = ()
    """Number of frames in which each foreground's matte is empty. () from an older backend."""
