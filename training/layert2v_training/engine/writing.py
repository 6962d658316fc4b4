"""A clip as a folder that `data.renders` reads: lossless movies and `clip.json`."""

import json
import shutil
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
from numpy.typing import NDArray

from layert2v_model.files.durable import publish_folder
from layert2v_training.data.clips import LayeredClip


def write_clip(folder: Path, clip: LayeredClip, fps: Fraction) -> None:
    """Write a clip; the folder appears complete or not at all, in place of an earlier one.

    Movies are FFV1, 8-bit sRGB. A foreground's alpha is its fourth channel, its colour straight.

    Raises:
        OSError: It cannot be written.
    """
    partial = folder.with_name(f".{folder.name}.part")
    shutil.rmtree(partial, ignore_errors=True)
    partial.mkdir(parents=True)
    described: dict[str, object] = {"full": "full.mkv", "background": clip.background_caption}
    if clip.full_caption:
        described["full_caption"] = clip.full_caption
    _write_movie(partial / "full.mkv", clip.full_THWC, fps)
    _write_movie(partial / "background.mkv", clip.background_THWC, fps)
    for number, layer in enumerate(clip.foregrounds, start=1):
        described[f"foreground_{number}"] = layer.caption
        rgba = np.concatenate([layer.rgb_THWC, layer.alpha_THW[..., None]], -1)
        _write_movie(partial / f"foreground_{number}.mkv", rgba, fps)
    (partial / "clip.json").write_text(json.dumps(described, indent=1))
    shutil.rmtree(folder, ignore_errors=True)
    publish_folder(partial, folder)


def _write_movie(path: Path, frames_THWC: NDArray[np.float32], fps: Fraction) -> None:
    kind = "rgba" if frames_THWC.shape[-1] == 4 else "rgb24"
    codes = np.ascontiguousarray((frames_THWC.clip(0, 1) * 255 + 0.5).astype(np.uint8))
    with av.open(str(path), "w") as container:
        stream = container.add_stream("ffv1", rate=fps)
        stream.height, stream.width = codes.shape[1:3]
        stream.pix_fmt = "bgra" if kind == "rgba" else "bgr0"
        for frame in codes:
            container.mux(stream.encode(av.VideoFrame.from_ndarray(frame, format=kind)))
        container.mux(stream.encode(None))
