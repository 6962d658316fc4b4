"""A movie as camera shots: frames at a chosen rate and height, cut where the histogram jumps.

Shape letters: T frames, H, W, C channels. Frames are uint8 sRGB.
"""

import hashlib
import itertools
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from layert2v_media.movie_index import MovieIndex, index_of
from layert2v_media.movies import stream_shown
from layert2v_media.transfer import Pixels
from layert2v_training.data.problems import reading

Codes = NDArray[np.uint8]

_CUT = 0.5
"""Correlation of hue-saturation-value histograms below which two frames belong to two shots."""

_DIGITS = 10
"""Digits of the digest. Ten thousand movies of one stem share one with a chance of 5 in 100 000."""


@dataclass(frozen=True, eq=False)
class CameraShot:
    """Frames between two cuts."""

    name: str
    frames_THWC: Codes
    fps: Fraction
    """Frames a second, as asked, or the movie's own rate where that is slower."""


def name_of(video: Path) -> str:
    """Name a movie by its stem and a digest of where it is.

    Movies of one stem in two folders, or of two suffixes, do not share clips. The name does not
    depend on other movies, so that a build goes on when some are added.
    """
    where = hashlib.sha256(str(video.resolve()).encode()).hexdigest()
    return f"{video.stem}-{where[:_DIGITS]}"


def read_camera_shots(
    path: Path, fps: Fraction, height: int, most_frames: int
) -> Iterator[CameraShot]:
    """Decode a movie shot by shot. A shot longer than `most_frames` is cut there.

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
            yield CameraShot(f"{name}-{number:03d}", np.stack(frames), rate)
            frames, number = [], number + 1
        frames.append(frame)
    if frames:
        yield CameraShot(f"{name}-{number:03d}", np.stack(frames), rate)


def _chosen(path: Path, fps: Fraction, height: int) -> Iterator[tuple[Codes, Fraction]]:
    """Give the frames nearest to the instants of `fps`, or of the movie's own rate if lower.

    Time stamps say when a frame is shown. The own rate of a movie whose rate varies is that of its
    fastest stretch. With each frame comes the rate.
    """
    with reading(path):
        index = index_of(path)
        rate = min(fps, _own_rate(index) or fps)
        due, before, shown_at = Fraction(0), None, Fraction(0)
        for number, frame in enumerate(stream_shown(path)):
            time = index.time(number)
            while before is not None and due - shown_at < time - due:
                yield _reduced(before, height), rate
                due += 1 / rate
            before, shown_at = frame, time
        while before is not None and due <= shown_at:
            yield _reduced(before, height), rate
            due += 1 / rate


def _own_rate(index: MovieIndex) -> Fraction | None:
    if index.times is None:
        return index.fps
    return 1 / min(after - before for before, after in itertools.pairwise(index.times))


def _reduced(frame: Callable[[], Pixels], height: int) -> Codes:
    rgb_HWC = frame()[..., :3]
    width = round(rgb_HWC.shape[1] * height / rgb_HWC.shape[0] / 2) * 2
    small = cv2.resize(rgb_HWC, (width, height), interpolation=cv2.INTER_AREA)
    return (np.asarray(small) * 255 + 0.5).astype(np.uint8)


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
