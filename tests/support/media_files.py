"""Small movies and pictures with metadata, as cameras and programs write them."""

import struct
import zlib
from collections.abc import Sequence
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np
from numpy.typing import NDArray

from layert2v_media.footage import Footage, read

Codes = NDArray[np.uint8]
_LUMA = {1: (0.2126, 0.0722), 5: (0.299, 0.114), 7: (0.212, 0.087), 9: (0.2627, 0.0593)}


def scene(num_frames: int = 4, height: int = 32, width: int = 48) -> Codes:
    """Draw a picture without symmetry, with a bar that moves: (T, H, W, 3)."""
    y, x = np.mgrid[:height, :width].astype(np.float64)
    frame = np.stack([40 + 150 * x / width, 30 + 180 * y / height, 90 + 0 * x], -1)
    frame[: height // 4, : width // 4] = (220, 40, 30)
    frames = np.repeat(frame[None], num_frames, 0)
    for t in range(num_frames):
        frames[t, height // 2 :, 4 * t : 4 * t + 4] = (240, 235, 60)
    return frames.round().astype(np.uint8)


def write_movie(
    path: Path,
    frames: Codes,
    codec: str = "libx264",
    pix_fmt: str = "yuv444p",
    *,
    fps: Fraction | int = 24,
    stamps: Sequence[int] | None = None,
    time_base: Fraction | None = None,
    matrix: Sequence[int] | None = None,
    aspect: Fraction | None = None,
    tags: dict[str, Any] | None = None,
    options: dict[str, str] | None = None,
    metadata: dict[str, str] | None = None,
) -> Path:
    """Write (T, H, W, 3 or 4), lossless if the codec can be.

    Args:
        path: The movie.
        frames: RGB or RGBA.
        codec: A codec of FFmpeg.
        pix_fmt: A pixel format of the codec.
        fps: The rate.
        stamps: Times of the frames in `time_base`. None means by the rate.
        time_base: The unit of the stamps.
        matrix: A display matrix of nine numbers.
        aspect: Width over height of a pixel.
        tags: `color_trc` and others, set on each frame.
        options: Options of the codec.
        metadata: Metadata of the stream.
    """
    kind = "rgba" if frames.shape[-1] == 4 else "rgb24"
    chosen = options or ({"crf": "0", "preset": "ultrafast"} if codec == "libx264" else {})
    with av.open(str(path), "w") as container:
        stream = container.add_stream(codec, rate=fps, options=chosen)
        stream.height, stream.width = frames.shape[1:3]
        stream.pix_fmt = pix_fmt
        stream.metadata.update(metadata or {})
        if stamps is not None:
            stream.codec_context.time_base = time_base or Fraction(1, 1000)
        if matrix is not None:
            stream.set_display_matrix(matrix)
        if aspect is not None:
            stream.codec_context.sample_aspect_ratio = aspect
        for name, value in (tags or {}).items():
            setattr(stream.codec_context, name, value)
        for t, codes in enumerate(frames):
            frame = av.VideoFrame.from_ndarray(np.ascontiguousarray(codes), format=kind)
            _encode(container, stream, _tagged(frame, pix_fmt, tags or {}), t, stamps, time_base)
        container.mux(stream.encode(None))
    return path


def _tagged(frame: Any, pix_fmt: str, tags: dict[str, Any]) -> Any:
    """Convert exactly with the matrix of the tags, and tag the frame."""
    if pix_fmt == "yuv444p":
        frame = _to_yuv(frame.to_ndarray(format="rgb24"), tags)
    for name, value in tags.items():
        setattr(frame, name, value)
    return frame


def _to_yuv(rgb: Codes, tags: dict[str, Any]) -> Any:
    red, blue = _LUMA[tags.get("colorspace", 5)]
    values = rgb.astype(np.float64) / 255
    y = values @ np.array([red, 1 - red - blue, blue])
    u, v = (values[..., 2] - y) / (2 - 2 * blue), (values[..., 0] - y) / (2 - 2 * red)
    is_full = tags.get("color_range") == 2
    planes = [y * 255, u * 255 + 128, v * 255 + 128] if is_full else [
        16 + 219 * y, 128 + 224 * u, 128 + 224 * v]  # fmt: skip
    codes = np.stack(planes).round().clip(0, 255).astype(np.uint8)
    return av.VideoFrame.from_ndarray(codes, format="yuv444p")


def _encode(
    container: Any,
    stream: Any,
    frame: Any,
    number: int,
    stamps: Sequence[int] | None,
    time_base: Fraction | None,
) -> None:
    if stamps is not None:
        frame.time_base, frame.pts = time_base or Fraction(1, 1000), stamps[number]
    container.mux(stream.encode(frame))


def png_with(content: bytes, *chunks: tuple[bytes, bytes]) -> bytes:
    """Put chunks behind the header of a PNG."""
    made = b"".join(
        struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))
        for name, data in chunks
    )
    return content[:33] + made + content[33:]


def largest_error(path: Path, truth: np.ndarray) -> float:
    """Return the largest error of a movie's codes, of 255."""
    return float(np.abs(read(Footage(path)) * 255 - truth).max())
