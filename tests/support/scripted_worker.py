"""A worker process without a model. It speaks the worker's protocol and obeys its prompt.

A model folder named `endless` never finishes loading.

It obeys words of the full prompt. `die` kills it at step 2 of the first attempt, and `die-always`
in every attempt. `hang` stops reporting and hears nothing. `wait` stops there until it is
cancelled. `slow` needs 0.05 s a step. `garbage` reports nonsense. `device` has a failed device in
the first attempt. `leave` exits right after its answer. It prints noise on stdout as libraries do.
"""

import os
import signal
import sys
import threading
import time
from pathlib import Path

from layert2v_backend.artifacts import ArtifactStore
from layert2v_backend.jobs import Artifact, take_path
from layert2v_backend.json_text import to_json
from layert2v_backend.worker.leash import end_with_door
from layert2v_backend.worker.pipe import Emit, IsCancelled, serve_pipe
from layert2v_backend.worker_protocol import (
    DEVICE_FAILED,
    Failed,
    Finished,
    StageProgress,
    Stopped,
    Task,
    Warmed,
    WorkerMessage,
)
from layert2v_domain.artifact import ArtifactFormat, ArtifactKind
from layert2v_domain.job import JobError, JobStage

NUM_STEPS = 6


class ScriptedRunner:
    def __init__(self, emit: Emit, is_cancelled: IsCancelled) -> None:
        self._emit = emit
        self._is_cancelled = is_cancelled

    def warm(self, folder: Path) -> Warmed:
        sys.stderr.write(f"warm {folder.name}\n")
        while folder.name == "endless":
            time.sleep(1)
        return Warmed("it is damaged" if folder.name == "damaged" else "")

    def run(self, task: Task) -> WorkerMessage:
        sys.stdout.write("noise that a library prints\n")
        sys.stdout.flush()
        words = task.shot.prompt.split()
        for step in range(NUM_STEPS + 1):
            if self._is_cancelled(task.job_id, task.attempt):
                return Stopped()
            self._emit(StageProgress(JobStage.DENOISING, step, NUM_STEPS))
            if step == 2:
                self._misbehave(words, task)
            time.sleep(0.05 if "slow" in words else 0)
        if "device" in words and task.attempt == 1:
            return Failed(JobError(DEVICE_FAILED, "the device failed"))
        frame = _frame(task)
        if "leave" in words:
            threading.Timer(0.2, os._exit, [0]).start()
        return Finished((frame,), None, {"denoising": 0.1})

    def _misbehave(self, words: list[str], task: Task) -> None:
        if "die-always" in words or ("die" in words and task.attempt == 1):
            os.kill(os.getpid(), signal.SIGKILL)
        if "hang" in words:
            threading.Event().wait()
        while "wait" in words and not self._is_cancelled(task.job_id, task.attempt):
            time.sleep(0.01)
        if "garbage" in words:
            os.write(_REPORTS_FD, b"?!\n")


def _frame(task: Task) -> Artifact:
    store = ArtifactStore(Path(task.store))
    draft = store.draft_folder(task.job_id, task.attempt) / "frame"
    draft.write_text(to_json(task.shot))
    sealed = store.seal(draft)
    store.adopt([sealed])
    kind, form = ArtifactKind.FULL, ArtifactFormat.PNG
    path = take_path(kind, form, -1, 0)
    return Artifact(path, kind, form, -1, 0, sealed.size_bytes, sealed.sha256)


_REPORTS_FD = os.dup(1)
"""Writes nonsense to the pipe itself."""

if __name__ == "__main__":
    end_with_door()
    serve_pipe(ScriptedRunner)
