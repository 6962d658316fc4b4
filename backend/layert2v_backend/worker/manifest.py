"""The manifest, in which a take describes itself."""

import hashlib
import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from layert2v_backend.jobs import Artifact
from layert2v_backend.worker_protocol import Task
from layert2v_domain.job import FinishingReport

MANIFEST_VERSION = 1
CONTRACT = {
    "exr": "half float, ZIP, scene-linear Rec. 709; RGBA premultiplied, or RGB",
    "png": "8-bit sRGB; RGBA straight, or RGB",
    "matte": "8-bit grey PNG, 255 * alpha, non-colour data",
    "composite": "straight over, back to front, in display-referred sRGB, equals full",
}
"""The formats of the files, in the manifest of every take."""


@dataclass(frozen=True)
class ManifestFacts:
    """The facts of a manifest beyond its task."""

    full_prompt: str
    """The full prompt of the model. It is composed if the shot had none."""
    weights_sha256: str
    """Digest of the model's weights. See `weights_sha256`."""
    report: FinishingReport | None
    """The report of finishing. Absent if finishing was skipped."""
    is_clamped: bool
    """Whether the model only clamps given streams, which is worse than training for them."""
    approximations: Mapping[str, str | float] = field(default_factory=dict)
    """Causes of a difference from the exact model's take, by name. Empty if it is exact."""


def weights_sha256(folder: Path) -> str:
    """Digest a model's weights: SHA-256 over its safetensors, as `sha256sum` lists them."""
    digest = hashlib.sha256()
    for path in sorted(folder.rglob("*.safetensors")):
        with path.open("rb") as file:
            sha256 = hashlib.file_digest(file, "sha256").hexdigest()
        digest.update(f"{sha256}  {path.relative_to(folder).as_posix()}\n".encode())
    return digest.hexdigest()


def manifest_of(task: Task, facts: ManifestFacts, artifacts: Sequence[Artifact]) -> dict[str, Any]:
    """Describe a take with its request, its production and every file's hash."""
    shot, report = task.shot, facts.report
    return {
        "layert2v_manifest": MANIFEST_VERSION,
        "job": f"jobs/{task.job_id}",
        "attempt": task.attempt,
        "model": {"id": shot.model, "sha256": facts.weights_sha256},
        "prompt": facts.full_prompt,
        "negative_prompt": shot.negative_prompt,
        "seed": shot.seed,
        "width": shot.width,
        "height": shot.height,
        "num_frames": shot.num_frames,
        "num_inference_steps": shot.num_inference_steps,
        "guidance_scale": shot.guidance_scale,
        "approximations": dict(facts.approximations),
        "layers": _manifest_layers(task),
        "kept_layers_are_clamped": facts.is_clamped and bool(task.kept_artifacts),
        "contract": CONTRACT,
        "finishing": _finite(vars(report)) if report else None,
        "unknown_words": [asdict(each) for each in task.unknown_words],
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
            "index": layer_index,
            "role": layer.role.value,
            "prompt": layer.prompt,
            "seed": task.shot.seed_of(layer_index),
            "kept": layer.kept and asdict(layer.kept),
        }
        for layer_index, layer in enumerate(task.shot.layers)
    ]


def _finite(report: dict[str, Any]) -> dict[str, Any]:
    """Replace infinity, which JSON lacks. The PSNR of equal pictures becomes null."""
    return {
        name: None if isinstance(value, float) and not math.isfinite(value) else value
        for name, value in report.items()
    }
