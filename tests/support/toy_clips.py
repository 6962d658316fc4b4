"""Layered footage at toy size, written like artists' and published files."""

import json
from collections.abc import Sequence
from pathlib import Path

import av
import cv2
import numpy as np
import OpenEXR
from numpy.typing import NDArray

Codes = NDArray[np.uint8]
WIDTH, HEIGHT, FRAMES = 32, 24, 6


def square_matte(num_frames: int = FRAMES, height: int = HEIGHT, width: int = WIDTH) -> Codes:
    """Draw a square moving right, (T, H, W)."""
    matte = np.zeros((num_frames, height, width), np.uint8)
    for t in range(num_frames):
        matte[t, 8:16, 4 + 2 * t : 12 + 2 * t] = 255
    return matte


def flat(colour: Sequence[int], num_frames: int = FRAMES, height: int = HEIGHT) -> Codes:
    """Fill with one colour, (T, H, W, C)."""
    return np.broadcast_to(
        np.array(colour, np.uint8), (num_frames, height, WIDTH, len(colour))
    ).copy()


def noise(num_frames: int = FRAMES) -> Codes:
    """Draw pictures that hardly compress, (T, H, W, 3)."""
    shape = (num_frames, HEIGHT, WIDTH, 3)
    return np.random.default_rng(0).integers(0, 256, shape, np.uint8)


def write_damaged_movie(path: Path) -> Path:
    """Write a movie, then flip a bit in every tenth of the middle of its pictures."""
    content = bytearray(write_movie(path, noise(24)).read_bytes())
    begin, end = content.find(b"mdat") + 1000, len(content) - 2000
    for place in range(begin, end, (end - begin) // 10):
        content[place] ^= 4
    path.write_bytes(content)
    return path


def write_movie(path: Path, frames: Codes, codec: str = "libx264", fps: int = 24) -> Path:
    """Write (T, H, W, 3 or 4) RGB as a movie. ProRes 4444 and FFV1 keep the fourth channel."""
    pixel_formats = {"libx264": "yuv420p", "prores_ks": "yuva444p10le", "ffv1": "bgra"}
    with av.open(str(path), "w") as container:
        stream = container.add_stream(codec, rate=fps)
        stream.height, stream.width = frames.shape[1:3]
        stream.pix_fmt = pixel_formats[codec]
        if codec == "libx264":
            stream.options = {"crf": "1"}
        for frame in frames:
            kind = "rgba" if frame.shape[-1] == 4 else "rgb24"
            container.mux(stream.encode(av.VideoFrame.from_ndarray(frame, format=kind)))
        container.mux(stream.encode(None))
    return path


def write_vidlayer(folder: Path, *, fps: int = 24, matte: Codes | None = None) -> Path:
    """Write a VidLayer sample with a red square over blue."""
    folder.mkdir(parents=True)
    matte = square_matte() if matte is None else matte
    alpha = square_matte()[..., None] // 255
    full = alpha * flat((200, 30, 30)) + (1 - alpha) * flat((20, 40, 180))
    write_movie(folder / "full_video.mp4", full, fps=fps)
    write_movie(folder / "background.mp4", flat((20, 40, 180)), fps=fps)
    write_movie(folder / "mask.mp4", np.repeat(matte[..., None], 3, -1), fps=fps)
    captions = {"full": "a red square over blue", "foreground": "a square", "background": "blue"}
    (folder / "metadata.json").write_text(json.dumps({"paths": {}, "captions": captions}))
    return folder


def write_pngs(folder: Path, frames: Codes) -> Path:
    """Write (T, H, W, 3 or 4) RGB as numbered PNG."""
    folder.mkdir(parents=True)
    for number, frame in enumerate(frames, start=1):
        order = [2, 1, 0, 3][: frame.shape[-1]]
        cv2.imwrite(str(folder / f"frame_{number:04d}.png"), frame[..., order])
    return folder


def write_layered_exrs(folder: Path, layers: dict[str, NDArray[np.float32]]) -> Path:
    """Write layers (T, H, W, 3 or 4), premultiplied linear, as channels NAME.R of one file each."""
    folder.mkdir(parents=True)
    header = {"compression": OpenEXR.ZIP_COMPRESSION, "type": OpenEXR.scanlineimage}
    for t in range(len(next(iter(layers.values())))):
        channels = {
            f"{name}.{letter}": np.ascontiguousarray(frames[t, ..., k], np.float32)
            for name, frames in layers.items()
            for k, letter in enumerate("RGBA"[: frames.shape[-1]])
        }
        with OpenEXR.File(header, channels) as file:
            file.write(str(folder / f"render.{t:04d}.exr"))
    return folder


def write_exrs(folder: Path, frames: NDArray[np.float32], letters: str = "RGBA") -> Path:
    """Write (T, H, W, C), premultiplied linear, as one-layer EXR of the channels `letters`."""
    folder.mkdir(parents=True)
    header = {"compression": OpenEXR.ZIP_COMPRESSION, "type": OpenEXR.scanlineimage}
    for t, frame in enumerate(frames):
        channels = {
            letter: np.ascontiguousarray(frame[..., k], np.float32)
            for k, letter in enumerate(letters)
        }
        with OpenEXR.File(header, channels) as file:
            file.write(str(folder / f"{folder.name}.{t:04d}.exr"))
    return folder


def linear_layers() -> dict[str, NDArray[np.float32]]:
    """Draw a grey background and a half-transparent white square, premultiplied linear."""
    alpha = square_matte()[..., None].astype(np.float32) / 255 * 0.5
    background = np.full((FRAMES, HEIGHT, WIDTH, 3), 0.2140411, np.float32)
    return {"background": background, "ghost": np.concatenate([alpha] * 4, -1)}


def write_renders(folder: Path, captions: str = "background: blue\nghost: a ghost\n") -> Path:
    """Write a clip of layered EXR with its text."""
    write_layered_exrs(folder, linear_layers())
    (folder / "clip.txt").write_text(captions)
    return folder
