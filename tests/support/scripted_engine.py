"""An engine without a model. It reports a test's script and stores small files."""

import asyncio
import threading
from collections.abc import AsyncGenerator
from pathlib import Path

from layert2v_backend.artifacts import ArtifactStore
from layert2v_backend.errors import WorkerLost
from layert2v_backend.jobs import Artifact, take_path
from layert2v_backend.worker_protocol import (
    Failed,
    Finished,
    StageProgress,
    Stopped,
    Task,
    WorkerMessage,
)
from layert2v_domain.artifact import ArtifactFormat, ArtifactKind
from layert2v_domain.job import FinishingReport, JobError, JobStage

NUM_STEPS = 4
REPORT = FinishingReport(20.0, 50.0, 48.0, 3, 0.7, 0.01, 0.02, 0.1, 0.2, (2,), (0, 9))


class ScriptedEngine:
    """Runs tasks at once, step by step, unless a test holds, fails or loses them."""

    def __init__(self) -> None:
        self.tasks: list[Task] = []
        """Every task that was begun."""
        self.may_go_on = threading.Event()
        """An event that a test clears to hold tasks before their second step."""
        self.may_go_on.set()
        self.is_holding = threading.Event()
        """An event that is set while a task is held."""
        self.endings: list[Failed | Stopped | Exception] = []
        """Failures of the next tasks."""
        self.cancelled: list[tuple[str, int]] = []
        self.is_model_loaded = False
        self.full_bytes = 100
        """Size of each file of the full video. Other files have 100 bytes."""
        self.has_ended_former_workers = False
        self._is_closed = False

    async def end_former_workers(self) -> None:
        self.has_ended_former_workers = True

    async def warm(self, model_folder: str) -> None:
        self.is_model_loaded = True

    async def run(self, task: Task) -> AsyncGenerator[WorkerMessage, None]:
        self.tasks.append(task)
        yield StageProgress(JobStage.LOADING, 0, 0)
        for step in range(1, NUM_STEPS + 1):
            yield StageProgress(JobStage.DENOISING, step, NUM_STEPS)
            await self._hold(task)
            if (task.job_id, task.attempt) in self.cancelled:
                yield Stopped()
                return
        if self.endings:
            ending = self.endings.pop(0)
            if isinstance(ending, Exception):
                raise ending
            yield ending
            return
        yield self._finished(task)

    async def _hold(self, task: Task) -> None:
        while not self.may_go_on.is_set() and (task.job_id, task.attempt) not in self.cancelled:
            self.is_holding.set()
            await asyncio.sleep(0.002)
            if self._is_closed:
                raise WorkerLost("the engine was closed")
        self.is_holding.clear()

    def _finished(self, task: Task) -> Finished:
        store = ArtifactStore(Path(task.store))
        folder = store.draft_folder(task.job_id, task.attempt)
        drafts = [(ArtifactKind.FULL, -1), (ArtifactKind.BACKGROUND, 0)]
        for index in range(1, len(task.shot.layers)):
            drafts += [(ArtifactKind.FOREGROUND, index), (ArtifactKind.MATTE, index)]
        kept = {artifact.layer_index for artifact in task.kept_artifacts}
        files = [
            (take_path(kind, ArtifactFormat.PNG, index, frame), kind, index, frame)
            for kind, index in drafts
            for frame in range(task.shot.num_frames if index not in kept else 0)
        ]
        for number, (path, kind, index, _) in enumerate(files):
            content = f"{task.shot.seed} {task.shot.layers[max(index, 0)].seed} {path}\n"
            length = self.full_bytes if kind is ArtifactKind.FULL else 100
            (folder / str(number)).write_bytes((content * length).encode()[:length])
        sealed = [store.seal(folder / str(number)) for number in range(len(files))]
        store.adopt(sealed)
        artifacts = [
            Artifact(
                path, kind, ArtifactFormat.PNG, index, frame, file.size_bytes, file.sha256,
                file.checksums,
            )
            for (path, kind, index, frame), file in zip(files, sealed, strict=True)
        ]  # fmt: skip
        report = None if task.shot.skip_finishing else REPORT
        return Finished(
            (*artifacts, *task.kept_artifacts), report, {"denoising": 1.5, "writing": 0.5}
        )

    async def cancel(self, job: str, attempt: int) -> None:
        self.cancelled.append((job, attempt))

    async def close(self) -> None:
        self._is_closed = True


def disk_full() -> Failed:
    """Report of a worker whose disk fills up while it writes."""
    return Failed(JobError("DISK_FULL", "the disk filled up: free some space and try again"))
