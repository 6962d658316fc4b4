"""What the front door and a worker say to each other: tasks one way, messages the other.

Frozen values only: no wire, no torch. They travel as JSON; see `json_text`.
"""

from dataclasses import dataclass
from typing import Literal

from layert2v_backend.jobs import Artifact
from layert2v_domain.job import FinishingReport, JobError, JobStage
from layert2v_domain.shot import Shot
from layert2v_model.cost.precision import Choice
from layert2v_words import UnknownWords

DEVICE_FAILED = "DEVICE_FAILED"
"""Reason of a worker whose device does nothing more until the process ends."""

STAGE_SHARES: dict[JobStage, float] = {
    JobStage.LOADING: 0.05,
    JobStage.ENCODING: 0.03,
    JobStage.DENOISING: 0.70,
    JobStage.DECODING: 0.12,
    JobStage.FINISHING: 0.06,
    JobStage.WRITING: 0.04,
}
"""Share of a job's time, for the progress bar before anything is known; they sum to 1."""


@dataclass(frozen=True)
class Task:
    """One attempt at a job, complete: a worker needs nothing else to run it."""

    job_id: str
    """Of the job."""
    attempt: int
    """From 1; messages of another attempt are refused."""
    shot: Shot
    """What is to be made, every default filled in."""
    model_folder: str
    """The model's diffusers folder."""
    store: str
    """Root of the artifact store."""
    kept_artifacts: tuple[Artifact, ...] = ()
    """Artifacts of the kept layers, already with their paths and indices in this shot."""
    unknown_words: tuple[UnknownWords, ...] = ()
    """Of the job, for the take's manifest."""


@dataclass(frozen=True)
class WorkerOptions:
    """How a worker runs its tasks, all of them alike."""

    memory_bytes: int = 0
    """Of the device, for this worker; 0: what is free."""
    offload: Literal["auto", "none", "model", "group"] = "auto"
    """What of the weights waits in main memory, exact; `auto`: as little as fits."""
    weights: Literal["full", "fp8"] = "full"
    """`fp8`: blocks keep their weights in 8 bits; approximate."""
    step_cache: float = 0.0
    """Largest relative change at which a step is skipped, approximate; 0: none is."""
    refresh_kept_every: int = 1
    """Steps from one that computes kept layers to the next; 1 is exact."""
    compile_blocks: bool = False
    """Compile the blocks unless they are offloaded one by one; exact but for rounding."""
    precision: Choice = "auto"
    """Of the transformer; `auto`: bfloat16 where the hardware has it natively."""

    @property
    def approximations(self) -> dict[str, str | float]:
        """What makes takes differ from those of the exact model, by name."""
        found: dict[str, str | float] = {}
        if self.weights != "full":
            found["weights"] = self.weights
        if self.step_cache:
            found["step_cache"] = self.step_cache
        if self.refresh_kept_every > 1:
            found["refresh_kept_every"] = self.refresh_kept_every
        return found


EXACT = WorkerOptions()
"""What a worker does that is told nothing."""


@dataclass(frozen=True)
class StageProgress:
    """A worker has come so far."""

    stage: JobStage
    """What it is doing."""
    step: int
    """Steps of this stage done."""
    num_steps: int
    """Steps of this stage in all; 0 where unknown."""

    @property
    def fraction(self) -> float:
        """Of the whole job, 0 to 1, by `STAGE_SHARES`."""
        stages = list(STAGE_SHARES)
        before = sum(STAGE_SHARES[stage] for stage in stages[: stages.index(self.stage)])
        within = min(self.step / self.num_steps, 1.0) if self.num_steps else 0.0
        return min(before + STAGE_SHARES[self.stage] * within, 1.0)


@dataclass(frozen=True)
class Finished:
    """A worker has made and stored the take."""

    artifacts: tuple[Artifact, ...]
    """All of the take, kept ones included; every file is in the store, synced."""
    report: FinishingReport | None
    """Absent when finishing was skipped."""
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
    """Why it could not; the task will say it again."""


WorkerMessage = StageProgress | Finished | Failed | Stopped
"""What a worker says about a task; all but `StageProgress` are its last word."""
