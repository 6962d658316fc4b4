"""Subjects of a still camera's shot: regions that differ from the median, followed over time.

Shape letters: T frames, H, W.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field

import cv2
import numpy as np
from numpy.typing import NDArray

from layert2v_training.engine import scale
from layert2v_training.engine.cuts import Codes

Rectangle = tuple[int, int, int, int]
"""Left, top, right, bottom in pixels."""

_DIFFERENCE = 26
"""Code values by which a subject differs from the plate: a tenth of their range, chosen by eye."""
_SMALLEST = 0.0015
"""Share of the picture below which a region is noise."""
_LONGEST_GAP = 3
"""Frames for which a subject may be lost and found again."""


@dataclass
class Subject:
    """A region followed over time."""

    boxes: dict[int, Rectangle] = field(default_factory=dict)
    """Frame to box."""
    area: float = 0.0
    """Pixels, summed over frames."""

    @property
    def ground(self) -> float:
        """Lowest row on average: subjects lower in the picture stand nearer the camera."""
        return float(np.mean([box[3] for box in self.boxes.values()]))


def moving_regions(frames_THWC: Codes, plate_HWC: Codes) -> NDArray[np.bool_]:
    """Mark what differs from the plate (T, H, W), specks and holes removed."""
    regions = []
    gaps = scale.square(9, len(plate_HWC), 5)
    for frame in frames_THWC:
        difference = cv2.absdiff(cv2.GaussianBlur(frame, (0, 0), 1), plate_HWC).max(-1)
        mask = (difference > _DIFFERENCE).astype(np.uint8)
        mask = cv2.morphologyEx(mask, cv2.MORPH_OPEN, np.ones((3, 3), np.uint8))
        regions.append(cv2.morphologyEx(mask, cv2.MORPH_CLOSE, gaps) > 0)
    return np.stack(regions)


def follow(regions_THW: NDArray[np.bool_]) -> list[Subject]:
    """Link regions that overlap from frame to frame; largest subjects first."""
    subjects: list[Subject] = []
    for t, region in enumerate(regions_THW):
        count, _, stats, _ = cv2.connectedComponentsWithStats(region.astype(np.uint8))
        for left, top, width, height, area in stats[1:count].tolist():
            if area >= _SMALLEST * region.size:
                box = (left, top, left + width, top + height)
                subject = _nearest(subjects, t, box)
                subject.boxes[t] = _union(subject.boxes.get(t, box), box)
                subject.area += area
    lasting = [subject for subject in subjects if len(subject.boxes) > len(regions_THW) // 3]
    return sorted(lasting, key=lambda subject: -subject.area)


def first_seen(boxes: Sequence[Rectangle | None]) -> int | None:
    """Give the first frame with a box; None where there is none."""
    return next((t for t, box in enumerate(boxes) if box is not None), None)


def unseen(boxes: Sequence[Rectangle | None]) -> NDArray[np.bool_]:
    """Say which frames have no box: (T,)."""
    return np.array([box is None for box in boxes])


def _nearest(subjects: list[Subject], t: int, box: Rectangle) -> Subject:
    """Give the subject whose last box overlaps most, or a new one."""
    best, most = None, 0.0
    for subject in subjects:
        last = max(subject.boxes)
        overlap = _overlap(subject.boxes[last], box)
        if t - last <= _LONGEST_GAP and overlap > most:
            best, most = subject, overlap
    if best is None:
        best = Subject()
        subjects.append(best)
    return best


def _overlap(one: Rectangle, two: Rectangle) -> float:
    width = min(one[2], two[2]) - max(one[0], two[0])
    height = min(one[3], two[3]) - max(one[1], two[1])
    return float(max(width, 0) * max(height, 0))


def _union(one: Rectangle, two: Rectangle) -> Rectangle:
    return min(one[0], two[0]), min(one[1], two[1]), max(one[2], two[2]), max(one[3], two[3])
