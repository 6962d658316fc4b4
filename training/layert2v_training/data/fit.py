"""The rules by which footage becomes a recipe's size and frame count.

Footage is scaled until it covers the target, and its middle is cropped. Nothing is squeezed,
nothing is padded. The frame nearest to each instant of the target rate is taken, from a start drawn
for the index. A clip that is too short is refused, never looped or held.
Shape letters: T frames, H, W, C channels.
"""

import bisect
from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction

import cv2
import numpy as np
from numpy.random import Generator

from layert2v_training.data.clips import Pixels


@dataclass(frozen=True)
class FrameTimes:
    """The times at which the frames of footage are shown."""

    num_frames: int
    fps: Fraction | None
    """None where footage does not say. It is then used frame by frame."""
    times: Sequence[Fraction] | None = None
    """Seconds of each frame, where the rate varies; `fps` is then their mean."""

    def num_starts(self, num_frames: int, target_fps: Fraction | None) -> int:
        """Count the frames from which `num_frames` at `target_fps` can be taken."""
        if self.times is None or self.fps is None:
            return self.num_frames - frames_needed(num_frames, self.fps, target_fps) + 1
        lasts = (num_frames - 1) / (target_fps or self.fps)
        latest = self.times[-1] + 1 / self.fps / 2 - lasts
        return bisect.bisect_right(self.times, latest)


def frames_needed(num_frames: int, fps: Fraction | None, target_fps: Fraction | None) -> int:
    """Frames of footage at `fps` that hold `num_frames` at `target_fps` (None: its own rate)."""
    return _offset(num_frames - 1, fps, target_fps) + 1


def choose_frames(
    rng: Generator, timing: FrameTimes, num_frames: int, target_fps: Fraction | None
) -> list[int]:
    """Draw a start and give the indices of `num_frames` frames. Footage is long enough."""
    num_starts = timing.num_starts(num_frames, target_fps)
    assert num_starts > 0, f"{timing.num_frames} frames cannot hold {num_frames}"
    start = int(rng.integers(0, num_starts))
    if timing.times is None or timing.fps is None:
        return [start + _offset(k, timing.fps, target_fps) for k in range(num_frames)]
    rate = target_fps or timing.fps
    return [nearest(timing.times, timing.times[start] + k / rate) for k in range(num_frames)]


def nearest(times: Sequence[Fraction], instant: Fraction) -> int:
    """Index of the time nearest to an instant, halves up; times ascend."""
    after = bisect.bisect_left(times, instant)
    if after == 0:
        return 0
    if after == len(times):
        return len(times) - 1
    return after if times[after] - instant <= instant - times[after - 1] else after - 1


def _offset(k: int, fps: Fraction | None, target_fps: Fraction | None) -> int:
    """Index of the frame nearest to instant k of the target rate, halves up."""
    if fps is None or target_fps is None:
        return k
    return int(k * fps / target_fps + Fraction(1, 2))


def cover(pixels_THWC: Pixels, width: int, height: int) -> Pixels:
    """Scale frames to cover width x height and crop the middle: (T, height, width, C).

    Colours with alpha must be premultiplied. Shrinking averages areas, growing is bilinear.
    """
    rows, columns = pixels_THWC.shape[1:3]
    scale = max(width / columns, height / rows)
    inner_w, inner_h = min(width / scale, columns), min(height / scale, rows)
    left, top = round((columns - inner_w) / 2), round((rows - inner_h) / 2)
    right, bottom = round(left + inner_w), round(top + inner_h)
    cropped = pixels_THWC[:, top:bottom, left:right]
    how = cv2.INTER_AREA if scale < 1 else cv2.INTER_LINEAR
    frames = [cv2.resize(frame, (width, height), interpolation=how) for frame in cropped]
    return np.stack(frames).reshape(len(frames), height, width, -1)
