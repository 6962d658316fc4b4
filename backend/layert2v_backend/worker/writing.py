"""Writes a take on threads: masters, timeline pictures, mattes and the manifest.

Generated layers are written as drafts, frame by frame as they are finished. The store adopts them
together, and the manifest describes them last. Kept layers' files are referred to and never
rewritten.

Shape letters: T frames, C channels, H, W.
"""

import json
import shutil
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any, Self

import numpy as np
from torch import Tensor

from layert2v_backend.artifacts import SYNCS_AT_ONCE, ArtifactStore, Sealed
from layert2v_backend.jobs import Artifact, layer_folder, take_path
from layert2v_backend.worker.manifest import ManifestFacts, manifest_of
from layert2v_backend.worker_protocol import Task
from layert2v_domain.artifact import ArtifactFormat, ArtifactKind
from layert2v_model.alpha import flatten
from layert2v_model.files import media
from layert2v_model.stack import Stack
from layert2v_model.vae.not_finite import check_frame

OnProgress = Callable[[int, int], None]

_Draft = tuple[ArtifactKind, ArtifactFormat, int, int, Sealed]
"""Kind, format, layer index, frame index and the file."""
_FULL = -1
"""Layer index of the full video."""


class TakeWriter:
    """Writes one take, while its other frames are still being made.

    This is a context manager. After it, however it ends, no thread writes any more and no draft
    stays. Waiting frames hold no copies of pixels, so their number needs no bound.
    """

    def __init__(self, task: Task, store: ArtifactStore) -> None:
        """Begin a take.

        Args:
            task: The task. Its kept layers are not written.
            store: The store of the files.
        """
        self._task, self._store = task, store
        layers = enumerate(task.shot.layers)
        self._written = [
            _FULL,
            *(layer_index for layer_index, layer in layers if layer.kept is None),
        ]
        # Encoding, numpy and syncing let other threads run meanwhile.
        self._pool = ThreadPoolExecutor(SYNCS_AT_ONCE, thread_name_prefix="write")
        self._folder = store.draft_folder(task.job_id, task.attempt)
        self._drafts: list[Future[list[_Draft]]] = []

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._pool.shutdown(cancel_futures=True)
        shutil.rmtree(self._folder, ignore_errors=True)

    def write(self, stack: Stack, frame_index: int) -> None:
        """Write one frame of a finished stack. Any thread may call this once for each frame."""
        for layer_index in self._written:
            written = self._pool.submit(self._write_frame, stack, layer_index, frame_index)
            self._drafts.append(written)

    def publish(self, facts: ManifestFacts, on_progress: OnProgress) -> tuple[Artifact, ...]:
        """Wait for the files, then give them all to the store.

        Args:
            facts: The facts of the manifest beyond the task.
            on_progress: Called with the number of frames done and of all. It may raise to stop.

        Returns:
            All artifacts of the take in path order, the manifest and the kept ones included.

        Raises:
            OSError: A file could not be stored. A full disk gives `errno.ENOSPC`.
            NotFinite: A frame holds NaN or infinity.
        """
        drafts: list[_Draft] = []
        for done, draft in enumerate(self._drafts):
            on_progress(done, len(self._drafts))
            drafts += draft.result()
        on_progress(len(self._drafts), len(self._drafts))
        written = map(self._artifact, drafts)
        artifacts = sorted(
            [*written, *self._task.kept_artifacts], key=lambda artifact: artifact.path
        )
        manifest = self._write_manifest(manifest_of(self._task, facts, artifacts))
        self._store.adopt([sealed for *_, sealed in (*drafts, manifest)])
        return (*artifacts, self._artifact(manifest))

    def _artifact(self, draft: _Draft) -> Artifact:
        kind, form, layer, frame, sealed = draft
        path = sealed.path.relative_to(self._folder).as_posix()
        return Artifact(
            path, kind, form, layer, frame, sealed.size_bytes, sealed.sha256, sealed.checksums
        )

    def _write_manifest(self, manifest: dict[str, Any]) -> _Draft:
        path = self._folder / "manifest.json"
        path.write_text(json.dumps(manifest, indent=1, allow_nan=False) + "\n", encoding="utf-8")
        return (ArtifactKind.MANIFEST, ArtifactFormat.JSON, -1, -1, self._store.seal(path))

    def _write_frame(self, stack: Stack, layer_index: int, frame_index: int) -> list[_Draft]:
        """Write and seal one frame of a layer or of full as EXR and PNG, with any matte."""
        kind, rgb_CHW, alpha_1HW = _picture(stack, layer_index, frame_index)
        for plane in (rgb_CHW, alpha_1HW):
            if plane is not None:
                check_frame(layer_folder(kind, layer_index), frame_index, plane.numpy())
        rgb_HWC = np.ascontiguousarray(rgb_CHW.numpy().clip(0, 1).transpose(1, 2, 0))
        alpha_HW = None if alpha_1HW is None else alpha_1HW[0].numpy().clip(0, 1)
        master = self._path(kind, ArtifactFormat.EXR, layer_index, frame_index)
        media.write_exr(master, rgb_HWC, alpha_HW)
        picture = self._path(kind, ArtifactFormat.PNG, layer_index, frame_index)
        media.write_png(picture, rgb_HWC, alpha_HW)
        paths = [(kind, ArtifactFormat.EXR, master), (kind, ArtifactFormat.PNG, picture)]
        if alpha_HW is not None:
            matte = self._path(ArtifactKind.MATTE, ArtifactFormat.PNG, layer_index, frame_index)
            media.write_matte_png(matte, alpha_HW)
            paths.append((ArtifactKind.MATTE, ArtifactFormat.PNG, matte))
        return [
            (of, form, layer_index, frame_index, self._store.seal(path)) for of, form, path in paths
        ]

    def _path(
        self, kind: ArtifactKind, form: ArtifactFormat, layer_index: int, frame_index: int
    ) -> Path:
        path = self._folder / take_path(kind, form, layer_index, frame_index)
        path.parent.mkdir(parents=True, exist_ok=True)
        return path


def _picture(
    stack: Stack, layer_index: int, frame_index: int
) -> tuple[ArtifactKind, Tensor, Tensor | None]:
    """Give one frame of a layer or of the flat stack: kind, (3, H, W), alpha (1, H, W)."""
    if layer_index == _FULL:
        background_CHW = stack.background.rgb_TCHW[frame_index]
        pairs = [
            (layer.rgb_TCHW[frame_index], layer.alpha_T1HW[frame_index])
            for layer in stack.foregrounds
        ]
        return ArtifactKind.FULL, flatten(background_CHW, pairs), None
    layer = stack.layers[layer_index]
    if layer_index == 0:
        return ArtifactKind.BACKGROUND, layer.rgb_TCHW[frame_index], None
    return ArtifactKind.FOREGROUND, layer.rgb_TCHW[frame_index], layer.alpha_T1HW[frame_index]
