"""A take on disk: masters, timeline pictures, mattes and the manifest; kept layers read back.

Generated layers are written as drafts, adopted by the store as a whole, and described by the
manifest last. Kept layers' files are referred to, never rewritten.
"""

import hashlib
import json
import math
import shutil
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from layert2v_backend.artifacts import ArtifactStore
from layert2v_backend.jobs import (
    Artifact,
    ArtifactFormat,
    ArtifactKind,
    FinishingReport,
    Task,
    take_path,
)
from layert2v_model import media
from layert2v_model.stack import Stack

MANIFEST_VERSION = 1
CONTRACT = {
    "exr": "half float, ZIP, scene-linear Rec. 709; RGBA premultiplied, or RGB",
    "png": "8-bit sRGB; RGBA straight, or RGB",
    "matte": "8-bit grey PNG, 255 * alpha, non-colour data",
    "composite": "straight over, back to front, in display-referred sRGB, equals full",
}
"""How the files are to be read, in the manifest of every take."""

OnProgress = Callable[[int, int], None]


@dataclass(frozen=True)
class Provenance:
    """What a manifest says beyond its task."""

    full_prompt: str
    """The full prompt as the model had it, composed where the shot had none."""
    weights_sha256: str
    """Of the model's weights; see `weights_sha256`."""
    report: FinishingReport | None
    """Of finishing; absent when it was skipped."""
    is_clamped: bool
    """Whether the model only clamps given streams, which is worse than being trained for them."""


def weights_sha256(folder: Path) -> str:
    """Digest a model's weights: SHA-256 over its safetensors, as `sha256sum` lists them."""
    digest = hashlib.sha256()
    for path in sorted(folder.rglob("*.safetensors")):
        with path.open("rb") as file:
            sha256 = hashlib.file_digest(file, "sha256").hexdigest()
        digest.update(f"{sha256}  {path.relative_to(folder).as_posix()}\n".encode())
    return digest.hexdigest()


def read_kept(kept: Sequence[Artifact], store: ArtifactStore) -> dict[str, Tensor] | None:
    """Read the masters of kept layers as given streams; None where no layer is kept.

    Returns:
        Per stream, `background`, `foreground_1`, `alpha_1`, ...: (T, 3 or 1, H, W), straight sRGB
        and alpha in [0, 1], whole, as float32.

    Raises:
        UnreadableMedia: A master is damaged.
    """
    masters = [artifact for artifact in kept if artifact.format is ArtifactFormat.EXR]
    masters.sort(key=lambda artifact: (artifact.layer_index, artifact.frame_index))
    frames: dict[str, list[NDArray[np.float32]]] = {}
    for artifact in masters:
        rgb_HWC, alpha_HW = media.read_exr(store.path(artifact.sha256))
        name = _stream("foreground", artifact.layer_index)
        frames.setdefault(name, []).append(rgb_HWC.transpose(2, 0, 1).clip(0, 1))
        if artifact.layer_index and alpha_HW is not None:
            alpha_name = _stream("alpha", artifact.layer_index)
            frames.setdefault(alpha_name, []).append(alpha_HW[None])
    return {name: torch.from_numpy(np.stack(stream)) for name, stream in frames.items()} or None


def _stream(word: str, layer_index: int) -> str:
    return f"{word}_{layer_index}" if layer_index else "background"


def write_take(
    stack: Stack,
    task: Task,
    provenance: Provenance,
    store: ArtifactStore,
    on_progress: OnProgress,
) -> tuple[Artifact, ...]:
    """Write and store every file of a take.

    Args:
        stack: The finished stack; full is what it flattens to.
        task: The task; its kept layers are referred to.
        provenance: What the manifest says beyond the task.
        store: Where the files go.
        on_progress: Called with layers done and layers in all.

    Returns:
        All artifacts of the take in path order, the manifest and the kept ones included.

    Raises:
        OSError: A file could not be stored; a full disk is `errno.ENOSPC`. No draft stays.
    """
    folder = store.draft_folder(task.job, task.attempt)
    try:
        written = _adopted(folder, _write_layers(folder, stack, task, on_progress), store)
        artifacts = sorted([*written, *task.kept], key=lambda artifact: artifact.path)
        manifest = _manifest(task, provenance, artifacts)
        path = folder / "manifest.json"
        path.write_text(json.dumps(manifest, indent=1, allow_nan=False) + "\n", encoding="utf-8")
        draft = (ArtifactKind.MANIFEST, ArtifactFormat.JSON, -1, -1, "manifest.json")
        return (*artifacts, *_adopted(folder, [draft], store))
    finally:
        shutil.rmtree(folder, ignore_errors=True)


_Draft = tuple[ArtifactKind, ArtifactFormat, int, int, str]
"""Kind, format, layer index, frame index and path in the take."""


def _adopted(folder: Path, drafts: Sequence[_Draft], store: ArtifactStore) -> list[Artifact]:
    stored = store.adopt(folder / path for *_, path in drafts)
    return [
        Artifact(path, kind, form, layer, frame, size_bytes, sha256)
        for (kind, form, layer, frame, path), (sha256, size_bytes) in zip(
            drafts, stored, strict=True
        )
    ]


def _write_layers(folder: Path, stack: Stack, task: Task, on_progress: OnProgress) -> list[_Draft]:
    """Write full and the generated layers into the draft folder."""
    drafts: list[_Draft] = []
    generated = [i for i, layer in enumerate(task.shot.layers) if layer.kept is None]
    for done, index in enumerate([-1, *generated]):
        on_progress(done, len(generated) + 1)
        if index < 0:
            kind, rgb_TCHW, alpha_T1HW = ArtifactKind.FULL, stack.flatten(), None
        else:
            layer = stack.layers[index]
            kind = ArtifactKind.FOREGROUND if index else ArtifactKind.BACKGROUND
            rgb_TCHW, alpha_T1HW = layer.rgb_TCHW, layer.alpha_T1HW if index else None
        drafts += _write_frames(folder, kind, index, rgb_TCHW, alpha_T1HW)
    on_progress(len(generated) + 1, len(generated) + 1)
    return drafts


def _write_frames(
    folder: Path, kind: ArtifactKind, index: int, rgb_TCHW: Tensor, alpha_T1HW: Tensor | None
) -> list[_Draft]:
    """Write one layer, or full: EXR and PNG of each frame, and the matte where there is alpha."""
    drafts: list[_Draft] = []

    def draft(kind: ArtifactKind, form: ArtifactFormat, frame: int) -> Path:
        path = take_path(kind, form, index, frame)
        drafts.append((kind, form, index, frame, path))
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        return folder / path

    rgb_THWC = rgb_TCHW.clamp(0, 1).permute(0, 2, 3, 1).contiguous().numpy()
    for frame, rgb_HWC in enumerate(rgb_THWC):
        alpha_HW = alpha_T1HW[frame, 0].clamp(0, 1).numpy() if alpha_T1HW is not None else None
        media.write_exr(draft(kind, ArtifactFormat.EXR, frame), rgb_HWC, alpha_HW)
        media.write_png(draft(kind, ArtifactFormat.PNG, frame), rgb_HWC, alpha_HW)
        if alpha_HW is not None:
            media.write_matte_png(draft(ArtifactKind.MATTE, ArtifactFormat.PNG, frame), alpha_HW)
    return drafts


def _manifest(task: Task, provenance: Provenance, artifacts: Sequence[Artifact]) -> dict[str, Any]:
    shot, report = task.shot, provenance.report
    return {
        "layert2v_manifest": MANIFEST_VERSION,
        "job": f"jobs/{task.job}",
        "attempt": task.attempt,
        "model": {"id": shot.model, "sha256": provenance.weights_sha256},
        "prompt": provenance.full_prompt,
        "negative_prompt": shot.negative_prompt,
        "seed": shot.seed,
        "width": shot.width,
        "height": shot.height,
        "num_frames": shot.num_frames,
        "num_inference_steps": shot.num_inference_steps,
        "guidance_scale": shot.guidance_scale,
        "layers": _manifest_layers(task),
        "kept_layers_are_clamped": provenance.is_clamped and bool(task.kept),
        "contract": CONTRACT,
        "finishing": _finite(vars(report)) if report else None,
        "files": [
            {
                "path": artifact.path,
                "kind": artifact.kind.value,
                "layer_index": artifact.layer_index,
                "frame_index": artifact.frame_index,
                "size_bytes": artifact.size_bytes,
                "sha256": artifact.sha256,
            }
            for artifact in artifacts
        ],
    }


def _manifest_layers(task: Task) -> list[dict[str, Any]]:
    """Layers back to front."""
    return [
        {
            "index": index,
            "role": layer.role.value,
            "prompt": layer.prompt,
            "seed": layer.seed,
            "kept": layer.kept
            and {"job": f"jobs/{layer.kept.job}", "layer_index": layer.kept.layer_index},
        }
        for index, layer in enumerate(task.shot.layers)
    ]


def _finite(report: dict[str, Any]) -> dict[str, Any]:
    """JSON has no infinity: the PSNR of equal pictures becomes null."""
    return {
        name: None if isinstance(value, float) and not math.isfinite(value) else value
        for name, value in report.items()
    }
