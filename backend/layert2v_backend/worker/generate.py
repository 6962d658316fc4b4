"""Turns one task into one take: load, generate, finish, write."""

import traceback
from collections.abc import Callable
from functools import partial
from pathlib import Path

from layert2v_backend.admission import format_of
from layert2v_backend.artifacts import ArtifactStore
from layert2v_backend.errors import ModelDamaged
from layert2v_backend.worker.assembly import Assembly
from layert2v_backend.worker.failures import device_error, error_of
from layert2v_backend.worker.log import note
from layert2v_backend.worker.manifest import ManifestFacts
from layert2v_backend.worker.model import LoadedModel
from layert2v_backend.worker.model_shot import given_streams, prompts_of, seeds_of
from layert2v_backend.worker.stopwatch import Cancelled, Stopwatch
from layert2v_backend.worker.writing import TakeWriter
from layert2v_backend.worker_protocol import (
    EXACT,
    Failed,
    Finished,
    Stopped,
    Task,
    Warmed,
    WorkerMessage,
    WorkerOptions,
)
from layert2v_domain.job import JobStage
from layert2v_model.cost.plan import Plan
from layert2v_model.errors import DamagedModel, InvalidShot


class Worker:
    """Holds one model, warm, and runs tasks with it."""

    def __init__(
        self,
        emit: Callable[[WorkerMessage], None],
        is_cancelled: Callable[[str, int], bool],
        options: WorkerOptions = EXACT,
    ) -> None:
        self._emit = emit
        self._is_cancelled = is_cancelled
        self._options = options
        self._model = LoadedModel(options)

    def warm(self, folder: Path) -> Warmed:
        """Load a model ahead of its first task, which will report a fault again."""
        try:
            self._model.warm(folder)
        except (DamagedModel, InvalidShot, ModelDamaged) as failure:
            note(f"model not loaded: {failure}")
            return Warmed(str(failure))
        return Warmed()

    def run(self, task: Task) -> WorkerMessage:
        """Run a task to its end and return its last message."""
        watch = Stopwatch(self._emit, lambda: self._is_cancelled(task.job_id, task.attempt))
        try:
            return self._make(task, watch)
        except Cancelled:
            return Stopped()
        # This is the border where a task meets its owner. An error of a model or a library fails
        # this job only, and the next job gets a working worker.
        except Exception as failure:  # noqa: BLE001
            note(traceback.format_exc())
            return Failed(device_error(failure) or error_of(failure, task))

    def _approximations(
        self, plan: Plan, num_skipped: int, *, is_reusing: bool
    ) -> dict[str, str | float]:
        """Give the inexact settings and their effects, for the take's manifest."""
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
        plan = self._model.plan(folder, format_of(shot))
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
                stream_seeds=seeds_of(shot),
                given=given_streams(task.kept_artifacts, store),
                refresh_given_every=self._options.refresh_kept_every,
                tile_decode=plan.tile_decode,
                on_progress=lambda stage, *steps: watch.at(JobStage(stage), *steps),
                on_frames=assembly.take,
            )
            watch.at(JobStage.FINISHING)
            report = assembly.finish()
            watch.at(JobStage.WRITING)
            facts = ManifestFacts(
                full_prompt=prompts.by_name()["full"],
                weights_sha256=self._model.weights_sha256,
                report=report,
                is_clamped=pipeline.clamps_given,
                approximations=self._approximations(
                    plan,
                    _num_skipped(self._model) - skipped,
                    is_reusing=bool(task.kept_artifacts) and pipeline.can_reuse_given,
                ),
            )
            artifacts = writer.publish(facts, partial(watch.at, JobStage.WRITING))
        return Finished(artifacts, report, watch.stop())


def _num_skipped(model: LoadedModel) -> int:
    return model.step_cache.num_skipped if model.step_cache else 0
