"""Video to shots: frames at a chosen rate and height, cut where the histogram jumps.

Shape letters: T frames, H, W, C channels. Frames are uint8 sRGB.
"""

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import cv2
import numpy as np
from numpy.typing import NDArray

from layert2v_training.data.problems import BadClip

Codes = NDArray[np.uint8]

_CUT = 0.5
"""Correlation of hue-saturation-value histograms below which two frames belong to two shots."""

_DIGITS = 10
"""Of the digest: ten thousand movies of one stem share one with a chance of 5 in 100 000."""


@dataclass(frozen=True, eq=False)
class Shot:
    """Frames between two cuts."""

    name: str
    frames_THWC: Codes
    fps: Fraction
    """At which they follow each other: as asked, or the movie's own where that is slower."""


def name_of(video: Path) -> str:
    """Name a movie by its stem and a digest of where it is.

    Movies of one stem in two folders, or of two suffixes, do not share clips; and the name is the
    same whatever other movies are given, so that a build goes on when some are added.
    """
    where = hashlib.sha256(str(video.resolve()).encode()).hexdigest()
    return f"{video.stem}-{where[:_DIGITS]}"


def read_shots(path: Path, fps: Fraction, height: int, most_frames: int) -> Iterator[Shot]:
    """Decode a movie shot by shot; a shot longer than `most_frames` is cut there.

    A movie slower than `fps` keeps its own rate: repeated frames would teach stutter.

    Raises:
        BadClip: It cannot be decoded, or a frame is damaged.
    """
    frames: list[Codes] = []
    name, histogram, number = name_of(path), None, 0
    rate = fps
    for frame, rate in _chosen(path, fps, height):
        before, histogram = histogram, _histogram(frame)
        is_cut = (
            before is not None and cv2.compareHist(before, histogram, cv2.HISTCMP_CORREL) < _CUT
        )
        if is_cut or len(frames) == most_frames:
            yield Shot(f"{name}-{number:03d}", np.stack(frames), rate)
            frames, number = [], number + 1
        frames.append(frame)
    if frames:
        yield Shot(f"{name}-{number:03d}", np.stack(frames), rate)


def _chosen(path: Path, fps: Fraction, height: int) -> Iterator[tuple[Codes, Fraction]]:
    """Give frames at `fps` or the movie's own rate, whichever is lower, and that rate."""
    due = Fraction(0)
    for index, (frame, rate) in enumerate(decode(path)):
        if Fraction(index) / rate >= due:
            chosen = min(fps, rate)
            due += 1 / chosen
            yield _reduced(frame, height), chosen


def decode(path: Path) -> Iterator[tuple[av.VideoFrame, Fraction]]:
    """Give every frame of a movie, and its rate.

    Raises:
        BadClip: It cannot be decoded, or a frame is damaged: damage looks like cuts.
    """
    try:
        with av.open(str(path)) as container:
            if not container.streams.video:
                raise BadClip(path, "has no video stream")
            stream = container.streams.video[0]
            rate = stream.average_rate or Fraction(25)
            for number, frame in enumerate(container.decode(stream)):
                if frame.is_corrupt:
                    raise BadClip(path, f"frame {number} is damaged; export it again")
                yield frame, rate
    except (av.error.FFmpegError, OSError) as failure:
        raise BadClip(path, f"cannot be decoded ({failure.strerror})") from failure


def _reduced(frame: Any, height: int) -> Codes:
    width = round(frame.width * height / frame.height / 2) * 2
    rgb = frame.to_ndarray(format="rgb24")
    return np.asarray(cv2.resize(rgb, (width, height), interpolation=cv2.INTER_AREA), np.uint8)


def _histogram(frame_HWC: Codes) -> NDArray[np.float32]:
    hsv = cv2.cvtColor(frame_HWC, cv2.COLOR_RGB2HSV)
    counts = cv2.calcHist([hsv], [0, 1, 2], None, [8, 8, 8], [0, 180, 0, 256, 0, 256])
    return np.asarray(counts / frame_HWC[..., 0].size, np.float32)


def camera_motion(frames_THWC: Codes) -> float:
    """Measure the median movement of corners, in pixels per frame: near 0 for a still camera."""
    moved = []
    for t in range(0, len(frames_THWC) - 1, max(len(frames_THWC) // 12, 1)):
        one, two = (cv2.cvtColor(frames_THWC[k], cv2.COLOR_RGB2GRAY) for k in (t, t + 1))
        corners = cv2.goodFeaturesToTrack(one, 120, 0.01, 8)
        if corners is not None:
            found, is_found, _ = cv2.calcOpticalFlowPyrLK(one, two, corners, None)
            steps = np.linalg.norm((found - corners)[is_found.astype(bool)], axis=-1)
            moved.append(float(np.median(steps)) if steps.size else 0.0)
    return float(np.median(moved)) if moved else 0.0
