"""The messages of the front door and a worker: tasks one way, answers the other.

Frozen values only: no wire, no torch. They travel as JSON. See `json_text`.
"""

from dataclasses import dataclass
from typing import Literal

from layert2v_backend.jobs import Artifact
from layert2v_domain.job import FinishingReport, JobError, JobStage
from layert2v_domain.shot import Shot
from layert2v_model.cost.precision import Choice
from layert2v_words import UnknownWords

DEVICE_FAILED = "DEVICE_FAILED"
"""Reason of a worker whose device fails every call until the process ends."""

STAGE_SHARES: dict[JobStage, float] = {
    JobStage.LOADING: 0.05,
    JobStage.ENCODING: 0.03,
    JobStage.DENOISING: 0.70,
    JobStage.DECODING: 0.12,
    JobStage.FINISHING: 0.06,
    JobStage.WRITING: 0.04,
}
"""Shares of a job's time, for the progress bar before measurements exist. They sum to 1."""


@dataclass(frozen=True)
class Task:
    """One attempt at a job, with all that a worker needs to run it."""

    job_id: str
    """Id of the job."""
    attempt: int
    """Number of the attempt, from 1. Messages of another attempt are refused."""
    shot: Shot
    """The shot, with every default filled in."""
    model_folder: str
    """The model's diffusers folder."""
    store: str
    """Root of the artifact store."""
    kept_artifacts: tuple[Artifact, ...] = ()
    """Artifacts of the kept layers, with their paths and indices in this shot."""
    unknown_words: tuple[UnknownWords, ...] = ()
    """Creation time of the job, for the take's manifest."""


@dataclass(frozen=True)
class WorkerOptions:
    """Options of a worker, which hold for all its tasks."""

    memory_bytes: int = 0
    """Memory of the device for this worker, in bytes. 0 means all free memory."""
    offload: Literal["auto", "none", "model", "group"] = "auto"
    """The part of the weights that waits in main memory. Exact. `auto` keeps it small."""
    weights: Literal["full", "fp8"] = "full"
    """`fp8` keeps the blocks' weights in 8 bits, which is approximate."""
    step_cache: float = 0.0
    """Largest relative change at which a step is skipped. Approximate. 0 skips none."""
    refresh_kept_every: int = 1
    """Recompute kept layers every so many steps. 1 is exact."""
    compile_blocks: bool = False
    """Compile the blocks unless they are offloaded one by one. Exact except for rounding."""
    precision: Choice = "auto"
    """Precision of the transformer. `auto` is bfloat16 if the hardware has it natively."""

    @property
    def approximations(self) -> dict[str, str | float]:
        """Name the options that make takes differ from those of the exact model."""
        found: dict[str, str | float] = {}
        if self.weights != "full":
            found["weights"] = self.weights
        if self.step_cache:
            found["step_cache"] = self.step_cache
        if self.refresh_kept_every > 1:
            found["refresh_kept_every"] = self.refresh_kept_every
        return found


EXACT = WorkerOptions()
"""The defaults of a worker."""


@dataclass(frozen=True)
class StageProgress:
    """The progress of a worker."""

    stage: JobStage
    """Its current stage."""
    step: int
    """Steps of this stage done."""
    num_steps: int
    """Number of steps of this stage. 0 if unknown."""

    @property
    def fraction(self) -> float:
        """Progress of the whole job, 0 to 1, by `STAGE_SHARES`."""
        stages = list(STAGE_SHARES)
        before = sum(STAGE_SHARES[stage] for stage in stages[: stages.index(self.stage)])
        within = min(self.step / self.num_steps, 1.0) if self.num_steps else 0.0
        return min(before + STAGE_SHARES[self.stage] * within, 1.0)


@dataclass(frozen=True)
class Finished:
    """A worker has made and stored the take."""

    artifacts: tuple[Artifact, ...]
    """All artifacts of the take, kept ones included. Every file is in the store and synced."""
    report: FinishingReport | None
    """The report of finishing. Absent if finishing was skipped."""
    seconds: dict[str, float]
    """Seconds per stage, keyed by `JobStage`."""


@dataclass(frozen=True)
class Failed:
    """A worker could not make the take."""

    error: JobError
    """Why."""


@dataclass(frozen=True)
class Stopped:
    """A worker stopped because it was asked to."""


@dataclass(frozen=True)
class Warmed:
    """A worker has tried to load a model ahead of its first task."""

    error: str = ""
    """Says why it could not. The task will say it again."""


WorkerMessage = StageProgress | Finished | Failed | Stopped
"""A worker's message about a task. All but `StageProgress` are its last message."""
