"""The files of a fake take: drawn layers, in the folder layout that real takes have."""

import hashlib
import json
import zlib
from dataclasses import dataclass
from typing import Any

from layert2v.v1 import artifact_pb2
from support import pictures

_KINDS = {
    "full": artifact_pb2.ARTIFACT_KIND_FULL,
    "background": artifact_pb2.ARTIFACT_KIND_BACKGROUND,
    "foreground": artifact_pb2.ARTIFACT_KIND_FOREGROUND,
    "matte": artifact_pb2.ARTIFACT_KIND_MATTE,
}


@dataclass
class FakeFile:
    """An artifact and its bytes."""

    proto: artifact_pb2.Artifact
    data: bytes
    pixels: Any = None
    """The drawn pictures of a PNG."""


def draw_take(job: Any, kept: dict[int, Any]) -> dict[str, FakeFile]:
    """Draw every file of a job's take, by path.

    `kept` gives, for a layer's index, the files of another take and the index there.
    """
    files: dict[str, FakeFile] = {}
    shot = job.shot
    for frame in range(shot.num_frames):
        layers = [_draw(job, index, frame) for index in range(len(shot.layers))]
        for index, (source, source_index) in kept.items():
            path = frame_path(stem_of(source_index), frame)
            layers[index] = source[path].pixels
        for index, pixels in enumerate(layers):
            _add(files, job, stem_of(index), index, frame, pixels)
            if index:
                _add(files, job, f"matte_{index}", index, frame, pixels[..., 3])
        _add(files, job, "full", -1, frame, pictures.flatten(layers[0], layers[1:]))
    _add_manifest(files, job)
    return files


def stem_of(layer_index: int) -> str:
    """Give the folder and file stem of a layer."""
    return f"foreground_{layer_index}" if layer_index else "background"


def frame_path(stem: str, frame: int) -> str:
    """Give the path of a frame's PNG in a take's folder. Frames count from 0."""
    return f"{stem}/png/{stem}_{frame + 1:04d}.png"


def _draw(job: Any, index: int, frame: int) -> Any:
    shot = job.shot
    layer = shot.layers[index]
    seed = layer.seed if layer.HasField("seed") else shot.seed
    mixed = zlib.crc32(f"{layer.prompt} {seed} {index}".encode())
    draw = pictures.foreground_frame if index else pictures.background_frame
    return draw(mixed, frame, shot.width, shot.height)


def _add(
    files: dict[str, FakeFile], job: Any, stem: str, index: int, frame: int, pixels: Any
) -> None:
    data = pictures.png_bytes(pixels)
    path = frame_path(stem, frame)
    kind = _KINDS[stem.partition("_")[0]]
    files[path] = _file(job, path, data, kind, artifact_pb2.ARTIFACT_FORMAT_PNG, index, frame)
    files[path].pixels = pixels


def _add_manifest(files: dict[str, FakeFile], job: Any) -> None:
    data = json.dumps({"job": job.name, "files": sorted(files)}).encode()
    kind, form = artifact_pb2.ARTIFACT_KIND_MANIFEST, artifact_pb2.ARTIFACT_FORMAT_JSON
    files["manifest.json"] = _file(job, "manifest.json", data, kind, form, -1, -1)


def _file(job: Any, path: str, data: bytes, kind: int, form: int, index: int, frame: int) -> Any:
    proto = artifact_pb2.Artifact(
        name=f"{job.name}/artifacts/{path.replace('/', '-').replace('_', '-').replace('.', '-')}",
        kind=kind,
        format=form,
        layer_index=index,
        frame_index=frame,
        path=path,
        size_bytes=len(data),
        sha256=hashlib.sha256(data).hexdigest(),
    )
    return FakeFile(proto, data)
