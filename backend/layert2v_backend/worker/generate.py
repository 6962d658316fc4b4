"""Runs one task into one take: load, generate, finish, write. The only torch in the backend."""

import os
import re
import time
import traceback
from collections.abc import Callable
from functools import partial
from pathlib import Path

import torch

from layert2v_backend.admission import size_of
from layert2v_backend.artifacts import ArtifactStore
from layert2v_backend.errors import ModelDamaged
from layert2v_backend.faults import DISK_ERRORS, STATE_FOLDER, fault_of
from layert2v_backend.worker.assembly import Assembly
from layert2v_backend.worker.log import note
from layert2v_backend.worker.manifest import Provenance, read_kept
from layert2v_backend.worker.model import HeldModel
from layert2v_backend.worker.writing import TakeWriter
from layert2v_backend.worker_protocol import (
    DEVICE_FAILED,
    EXACT,
    Failed,
    Finished,
    StageProgress,
    Stopped,
    Task,
    Warmed,
    WorkerMessage,
    WorkerOptions,
)
from layert2v_domain.job import JobError, JobStage
from layert2v_domain.shot import Shot
from layert2v_media.errors import UnreadableMedia
from layert2v_model.cost.plan import Plan
from layert2v_model.errors import DamagedModel, InvalidShot, NotFinite
from layert2v_model.pipeline import ShotPrompts

_REASONS: dict[type[Exception], str] = {
    DamagedModel: "MODEL_DAMAGED",
    InvalidShot: "INVALID_SHOT",
    UnreadableMedia: "DATA_LOSS",
    NotFinite: "NOT_FINITE",
}
"""Errors of the model's library that say what is wrong and what to do."""
_FOLDERS = re.compile(r"(?<![\w.])(?:[A-Za-z]:)?[\\/](?:[^\s\\/:;,()'\"]+[\\/])+")
"""The folders of an absolute path, on any system; a folder with a space ends them."""
_TELL_INTERVAL_S = 0.1
"""Each progress is a durable row; ten a second are enough for a progress bar."""


class Cancelled(Exception):
    """Raised inside a task when it is to stop."""


class Stopwatch:
    """Measures stages, tells progress, and notices a cancel at every step."""

    def __init__(
        self, tell: Callable[[WorkerMessage], None], is_cancelled: Callable[[], bool]
    ) -> None:
        self.seconds: dict[str, float] = {}
        self._tell = tell
        self._is_cancelled = is_cancelled
        self._stage: JobStage | None = None
        self._mark = time.monotonic()
        self._told = -_TELL_INTERVAL_S

    def at(self, stage: JobStage, step: int = 0, num_steps: int = 0) -> None:
        """Say that `step` of `num_steps` of a stage are done.

        Raises:
            Cancelled: The task is to stop.
        """
        if self._is_cancelled():
            raise Cancelled
        now = time.monotonic()
        is_news = stage is not self._stage or step == num_steps
        self._account(now)
        self._stage = stage
        if is_news or now - self._told >= _TELL_INTERVAL_S:
            self._told = now
            self._tell(StageProgress(stage, step, num_steps))

    def stop(self) -> dict[str, float]:
        """End the last stage and give the seconds of all."""
        self._account(time.monotonic())
        return self.seconds

    def _account(self, now: float) -> None:
        """Count the time since the last mark to the stage it was spent in."""
        if self._stage:
            self.seconds[self._stage] = self.seconds.get(self._stage, 0.0) + now - self._mark
        self._mark = now


class Worker:
    """Holds one model, warm, and runs tasks with it."""

    def __init__(
        self,
        tell: Callable[[WorkerMessage], None],
        is_cancelled: Callable[[str, int], bool],
        options: WorkerOptions = EXACT,
    ) -> None:
        self._tell = tell
        self._is_cancelled = is_cancelled
        self._options = options
        self._model = HeldModel(options)

    def warm(self, folder: Path) -> Warmed:
        """Load a model ahead of its first task; what is wrong with it, that task will say."""
        try:
            self._model.warm(folder)
        except (DamagedModel, InvalidShot, ModelDamaged) as failure:
            note(f"model not loaded: {failure}")
            return Warmed(str(failure))
        return Warmed()

    def run(self, task: Task) -> WorkerMessage:
        """Run a task to its end; the answer is its last message."""
        watch = Stopwatch(self._tell, lambda: self._is_cancelled(task.job_id, task.attempt))
        try:
            return self._make(task, watch)
        except Cancelled:
            return Stopped()
        # The border where a task meets its owner: whatever a model or a library raises is this
        # job's failure, and the next job gets a working worker.
        except Exception as failure:  # noqa: BLE001
            note(traceback.format_exc())
            return Failed(_device_error(failure) or _error_of(failure, task))

    def _approximations(
        self, plan: Plan, num_skipped: int, *, is_reusing: bool
    ) -> dict[str, str | float]:
        """What a take's manifest says was not exact, and what it did."""
        found = self._options.approximations
        if self._options.step_cache:
            found["num_skipped_steps"] = num_skipped
        if not is_reusing:
            found.pop("refresh_kept_every", None)
        if plan.tile_decode:
            found["tile_decode"] = "on"
        return found

    def _make(self, task: Task, watch: Stopwatch) -> Finished:
        store, shot = ArtifactStore(Path(task.store)), task.shot
        watch.at(JobStage.LOADING)
        folder = Path(task.model_folder)
        plan = self._model.plan(folder, size_of(shot))
        pipeline = self._model.load(folder, plan.offload)
        skipped = _num_skipped(self._model)
        watch.at(JobStage.ENCODING)
        prompts = prompts_of(shot)
        with TakeWriter(task, store) as writer, Assembly(shot, writer) as assembly:
            pipeline(
                prompts,
                width=shot.width,
                height=shot.height,
                num_frames=shot.num_frames,
                num_inference_steps=shot.num_inference_steps,
                guidance_scale=shot.guidance_scale,
                stream_seeds=stream_seeds(shot),
                given=read_kept(task.kept, store),
                refresh_given_every=self._options.refresh_kept_every,
                tile_decode=plan.tile_decode,
                on_progress=lambda stage, step, steps: watch.at(JobStage(stage), step, steps),
                on_frames=assembly.take,
            )
            watch.at(JobStage.FINISHING)
            report = assembly.finish()
            watch.at(JobStage.WRITING)
            provenance = Provenance(
                full_prompt=prompts.by_name()["full"],
                weights_sha256=self._model.weights_sha256,
                report=report,
                is_clamped=pipeline.clamps_given,
                approximations=self._approximations(
                    plan,
                    _num_skipped(self._model) - skipped,
                    is_reusing=bool(task.kept) and pipeline.can_reuse_given,
                ),
            )
            artifacts = writer.publish(provenance, partial(watch.at, JobStage.WRITING))
        return Finished(artifacts, report, watch.stop())


def _num_skipped(model: HeldModel) -> int:
    return model.step_cache.num_skipped if model.step_cache else 0


def prompts_of(shot: Shot) -> ShotPrompts:
    """Give the model its prompts; it composes an empty full prompt from the layers'."""
    background, *foregrounds = (layer.prompt for layer in shot.layers)
    return ShotPrompts(
        full=shot.prompt,
        background=background,
        foregrounds=tuple(foregrounds),
        negative=shot.negative_prompt,
    )


def stream_seeds(shot: Shot) -> dict[str, int]:
    """Give each stream its seed: full from the shot, the others from their layer.

    An alpha shares its foreground's seed; the model tells all streams apart by their names.
    """
    numbers = range(1, len(shot.layers))
    foregrounds = {f"foreground_{number}": shot.seed_of(number) for number in numbers}
    return {"full": shot.seed, "background": shot.seed_of(0), **foregrounds}


def _device_error(failure: Exception) -> JobError | None:
    """Say that the device has failed for good; None where it still computes.

    After an illegal access, a failed assertion or a memory error on it, a process's device answers
    every later call with the same error, so it is asked for a sum.
    """
    if not _is_device_used():
        return None
    try:
        _compute_on_device()
    except torch.OutOfMemoryError:
        return None
    except RuntimeError as still:
        return JobError(
            DEVICE_FAILED,
            f"its device failed ({_first_line(failure)}; then {_first_line(still)}): if that "
            f"happens again, see worker.log and the system's log, or restart the machine",
        )
    return None


def _place_of(failure: OSError, task: Task) -> str:
    """Name the file that an error is about, unless it lies in the store."""
    path = Path(str(failure.filename)) if failure.filename else Path(task.store)
    return STATE_FOLDER if path.is_relative_to(task.store) else f"the file {path.name}"


def _is_device_used() -> bool:
    return torch.cuda.is_initialized()


def _compute_on_device() -> None:
    torch.ones(1, device="cuda").sum().item()


def _first_line(failure: Exception) -> str:
    return str(failure).partition("\n")[0]


def _error_of(failure: Exception, task: Task) -> JobError:
    for kind, reason in _REASONS.items():
        if isinstance(failure, kind):
            return JobError(reason, without_paths(str(failure), task))
    if isinstance(failure, OSError) and failure.errno in DISK_ERRORS:
        fault = fault_of(failure, _place_of(failure, task))
        return JobError(fault.reason, fault.message)
    if isinstance(failure, torch.OutOfMemoryError | MemoryError):
        message = (
            f"{task.shot.width} x {task.shot.height} pixels, {task.shot.num_frames} frames and "
            f"{len(task.shot.layers)} layers do not fit into memory: make the shot smaller"
        )
        return JobError("OUT_OF_MEMORY", message)
    message = (
        "the worker met a fault of its own: try again, and if it stays report it with worker.log "
        "from the state folder, which says more"
    )
    return JobError("INTERNAL", message)


def without_paths(message: str, task: Task) -> str:
    """Leave only the last part of the server's paths in a message for clients."""
    for folder in (Path(task.model_folder).parent, Path(task.store)):
        message = message.replace(f"{folder}{os.sep}", "")
    return _FOLDERS.sub("", message)
