"""What a job is: its shot, its states, its history, the task a worker gets and what it reports.

Frozen values only: no files, no wire, no torch. They travel to the worker and into the journal as
JSON by `to_json` and `from_json`.
"""

import json
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, Literal, TypeVar

from pydantic import TypeAdapter

from layert2v_model.cost.precision import Choice
from layert2v_words import UnknownWords

T = TypeVar("T")

MAX_SEED = 2**63 - 1
DEVICE_FAILED = "DEVICE_FAILED"
"""Reason of a worker whose device does nothing more until the process ends."""


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

    LOADING = "loading"
    ENCODING = "encoding"
    DENOISING = "denoising"
    DECODING = "decoding"
    FINISHING = "finishing"
    WRITING = "writing"


STAGE_SHARES: dict[JobStage, float] = {
    JobStage.LOADING: 0.05,
    JobStage.ENCODING: 0.03,
    JobStage.DENOISING: 0.70,
    JobStage.DECODING: 0.12,
    JobStage.FINISHING: 0.06,
    JobStage.WRITING: 0.04,
}
"""Share of a job's time, for the progress bar before anything is known; they sum to 1."""


class LayerRole(StrEnum):
    """Which job a layer does in its stack; the words of `layert2v_model.stack.Role`."""

    BACKGROUND = "background"
    FOREGROUND = "foreground"


class ArtifactKind(StrEnum):
    """What an artifact shows."""

    FULL = "full"
    BACKGROUND = "background"
    FOREGROUND = "foreground"
    MATTE = "matte"
    MANIFEST = "manifest"


class ArtifactFormat(StrEnum):
    """How an artifact is stored."""

    EXR = "exr"
    PNG = "png"
    JSON = "json"


@dataclass(frozen=True)
class KeptLayer:
    """Where a kept layer comes from."""

    job: str
    """Id of the job whose take holds it."""
    layer_index: int
    """Its place in that job's stack; 0 is the background."""


@dataclass(frozen=True)
class LayerSpec:
    """One layer of a shot, defaults filled in."""

    role: LayerRole
    """Background or foreground."""
    prompt: str
    """What it shows; of a kept layer, what its source was asked to show."""
    seed: int
    """Seed of its initial noise, 0 to `MAX_SEED`; of a kept layer, its source's."""
    kept: KeptLayer | None = None
    """Present when the layer is not generated."""


@dataclass(frozen=True)
class Shot:
    """What is to be made, defaults filled in."""

    model: str
    """Model id."""
    prompt: str
    """The full picture. If it is empty, the worker combines the layers' prompts."""
    negative_prompt: str
    """What to avoid; may be empty."""
    layers: tuple[LayerSpec, ...]
    """Back to front: the background, then 1 or more foregrounds."""
    width: int
    """Pixels."""
    height: int
    """Pixels."""
    num_frames: int
    """Frames."""
    seed: int
    """Seed of the shot, 0 to `MAX_SEED`."""
    num_inference_steps: int
    """Denoising steps."""
    guidance_scale: float
    """Classifier-free guidance; 1 is off."""
    skip_finishing: bool = False
    """Leave the layers as generated."""


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
    """How well the finished stack flattens to the generated full video; see `job.proto`."""

    recomposition_before: float
    recomposition_after: float
    recomposition_worst: float
    worst_frame: int
    outline_ratio: float
    matte_change: float
    ghost_slope: float
    spill: float
    soft_share: float
    empty_mattes: tuple[int, ...]
    empty_frames: tuple[int, ...] = ()


@dataclass(frozen=True)
class Artifact:
    """One stored file of a take, known by its SHA-256."""

    path: str
    """Where it belongs in a take's folder: `foreground_1/png/foreground_1_0001.png`."""
    kind: ArtifactKind
    """What it shows."""
    format: ArtifactFormat
    """How it is stored."""
    layer_index: int
    """The layer's place in the stack, 0 the background; -1 for full and manifest."""
    frame_index: int
    """Frame, from 0; -1 where the file is not a frame."""
    size_bytes: int
    """Length."""
    sha256: str
    """64 lower-case hexadecimal digits."""
    checksums: str = ""
    """Of each MiB, 16 hexadecimal digits; see `checksums.sums_at`. Empty for takes that were
    published before there were any."""

    @property
    def id(self) -> str:
        """Its id within the job, `[a-z0-9-]{1,63}`: `foreground-1-png-0001`."""
        folder, _, name = self.path.rpartition("/")
        stem = name.rpartition(".")[0]
        number = stem.rpartition("_")[2]
        return f"{folder}/{number}".replace("/", "-").replace("_", "-") if folder else stem


def layer_folder(kind: ArtifactKind, layer_index: int) -> str:
    """Name the folder of a layer in a take: `full`, `background`, `foreground_1`, `matte_1`."""
    is_numbered = kind in (ArtifactKind.FOREGROUND, ArtifactKind.MATTE)
    return f"{kind}_{layer_index}" if is_numbered else kind.value


def take_path(kind: ArtifactKind, form: ArtifactFormat, layer_index: int, frame_index: int) -> str:
    """Say where a frame belongs in a take's folder: `foreground_1/png/foreground_1_0001.png`.

    Frame files count from 0001, `frame_index` from 0.
    """
    folder = layer_folder(kind, layer_index)
    return f"{folder}/{form}/{folder}_{frame_index + 1:04d}.{form}"


@dataclass(frozen=True)
class Job:
    """The backend's unit of work, as the journal holds it."""

    id: str
    """`[a-z0-9-]{1,63}`."""
    shot: Shot
    """What is made."""
    state: JobState
    """Where it is in its life."""
    attempt: int
    """How often a worker has begun it."""
    last_sequence: int
    """Its latest event."""
    create_time: float
    """Unix seconds."""
    update_time: float
    """Unix seconds."""
    error: JobError | None = None
    """Present when FAILED."""
    report: FinishingReport | None = None
    """Present when SUCCEEDED and finishing ran."""
    seconds: dict[str, float] = field(default_factory=dict)
    """Seconds per stage, keyed by `JobStage`; when SUCCEEDED."""
    unknown_words: tuple[UnknownWords, ...] = ()
    """Prompts that the model's vocabulary did not cover when the job was created."""


@dataclass(frozen=True)
class Progress:
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
        stages = list(JobStage)
        before = sum(STAGE_SHARES[stage] for stage in stages[: stages.index(self.stage)])
        within = min(self.step / self.num_steps, 1.0) if self.num_steps else 0.0
        return min(before + STAGE_SHARES[self.stage] * within, 1.0)


@dataclass(frozen=True)
class JobProgress:
    """Progress as the history has it."""

    stage: JobStage
    step: int
    num_steps: int
    fraction: float
    """Of the whole job, 0 to 1; never falls within an attempt."""
    eta_s: float
    """Estimated seconds to the end; negative where unknown."""


@dataclass(frozen=True)
class JobEvent:
    """One entry of a job's history."""

    sequence: int
    """Per job, gapless, from 1."""
    attempt: int
    """The attempt that wrote it; 0: the front door."""
    time: float
    """Unix seconds."""
    what: JobState | JobProgress | str
    """A change of state, progress, or a sentence."""


@dataclass(frozen=True)
class Task:
    """One attempt at a job, complete: a worker needs nothing else to run it."""

    job: str
    """Id of the job."""
    attempt: int
    """From 1; reports of another attempt are refused."""
    shot: Shot
    """What is to be made."""
    model_folder: str
    """The model's diffusers folder."""
    store: str
    """Root of the artifact store."""
    kept: tuple[Artifact, ...] = ()
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


Report = Progress | Finished | Failed | Stopped
"""What a worker says about a task; all but `Progress` are its last word."""


_ADAPTERS: dict[Any, TypeAdapter[Any]] = {}


def _adapter(kind: Any) -> TypeAdapter[Any]:
    if kind not in _ADAPTERS:
        _ADAPTERS[kind] = TypeAdapter(kind)
    return _ADAPTERS[kind]


def to_json(value: object) -> str:
    """Write a value of this module as one line of JSON; infinities are `Infinity`."""
    return json.dumps(_adapter(type(value)).dump_python(value, mode="json"), ensure_ascii=False)


def from_json(kind: type[T], text: str | bytes) -> T:
    """Read a value of this module.

    Raises:
        pydantic.ValidationError: The text is not a value of this kind.
    """
    value: T = _adapter(kind).validate_json(text)
    return value
