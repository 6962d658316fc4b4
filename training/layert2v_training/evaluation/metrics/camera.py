"""Positions of the camera, so that plates can be compared as if it were at rest.

Shape letters: T frames, C channels, H, W. Pixels are display-referred sRGB in [0, 1].
"""

from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from layert2v_model.finishing.fill import Floats
from layert2v_model.finishing.report import OPEN, luma
from layert2v_training.evaluation.metrics.take_planes import Planes, Region

Camera = NDArray[np.float32]
"""Homography (3, 3): pixels (x, y, 1) of the middle frame to those of another."""

_LINES = 192
"""Height at which cameras are sought. Larger pictures are shrunk to it."""
_STILL = 0.05
"""Pixels at the corners below which a camera counts as at rest: no frame is resampled then."""
_LEAST_OPEN = 0.05
"""Share of open pixels below which no camera is sought."""
_ENOUGH = (cv2.TERM_CRITERIA_COUNT | cv2.TERM_CRITERIA_EPS, 100, 1e-5)
_BLUR = 5
"""Pixels of the filter before gradients. It is OpenCV's own default."""
_HALF = 0.5
"""Coverage outside a moved frame: neither open nor covered."""


@dataclass(frozen=True, eq=False)
class Steadied:
    """A take as the camera of its middle frame would have seen it."""

    plate_TCHW: Floats
    full_TCHW: Floats
    coverage_THW: Floats
    """One half where the camera of a frame did not look."""
    seen_THW: Region
    """Where it did."""


def steadied(planes: Planes, cameras: Sequence[Camera | None] | None = None) -> Steadied:
    """Undo pans, zooms and rolls of the camera. One at rest changes nothing.

    Args:
        planes: Planes of the take.
        cameras: Cameras of each frame; by default those found in the plate.
    """
    cameras = find_cameras(planes) if cameras is None else cameras
    if all(camera is None for camera in cameras):
        seen_THW = np.ones(planes.coverage_THW.shape, np.bool_)
        return Steadied(planes.background_TCHW, planes.full_TCHW, planes.coverage_THW, seen_THW)
    ones_HW = np.ones(planes.coverage_THW.shape[1:], np.float32)
    pairs = zip(planes.coverage_THW, cameras, strict=True)
    return Steadied(
        _moved(planes.background_TCHW, cameras),
        _moved(planes.full_TCHW, cameras),
        np.stack([_seen_from(x_HW, camera, _HALF) for x_HW, camera in pairs]),
        np.stack([_seen_from(ones_HW, camera, 0) > 1 - 1e-3 for camera in cameras]),
    )


def find_cameras(planes: Planes) -> list[Camera | None]:
    """Find for each frame where the middle frame's pixels lie in it; None where they are at rest.

    A camera that is not found (a flat plate, nothing open) counts as at rest.

    Source: Evangelidis and Psarakis, "Parametric Image Alignment Using Enhanced Correlation
    Coefficient Maximization", TPAMI 2008 (OpenCV's), in open pixels only. A turning camera
    moves what it sees by a homography (Hartley and Zisserman, "Multiple View Geometry", 8.4).
    """
    lumas = [_small(luma(frame_CHW)) for frame_CHW in planes.background_TCHW]
    opened = [_small((x_HW < OPEN).astype(np.float32)) > 1 - 1e-3 for x_HW in planes.coverage_THW]
    shrunk = lumas[0].shape[0] / planes.coverage_THW.shape[1]
    middle, count = len(lumas) // 2, len(lumas)
    cameras: list[Camera | None] = [None] * count
    for order in (range(middle + 1, count), range(middle - 1, -1, -1)):
        guess = np.eye(3, dtype=np.float32)
        for t in order:
            guess = _aligned(lumas[middle], lumas[t], opened[t], guess)
            cameras[t] = _at_full_size(guess, shrunk, planes.coverage_THW.shape[1:])
    return cameras


def _aligned(middle_HW: Floats, frame_HW: Floats, open_HW: Region, guess: Camera) -> Camera:
    """Refine a guess, first among affine motions. What does not converge leaves it as it is."""
    if open_HW.mean() < _LEAST_OPEN:
        return guess
    mask_HW = open_HW.astype(np.uint8)
    found = guess.copy()
    try:
        for motion, rows in ((cv2.MOTION_AFFINE, 2), (cv2.MOTION_HOMOGRAPHY, 3)):
            start = (found / found[2, 2])[:rows].copy()
            _, part = cv2.findTransformECC(
                middle_HW, frame_HW, start, motion, _ENOUGH, mask_HW, _BLUR
            )
            found = np.eye(3, dtype=np.float32)
            found[:rows] = part
    except cv2.error:  # it does not converge: a flat plate
        pass
    return found


def _at_full_size(camera: Camera, shrunk: float, size: tuple[int, ...]) -> Camera | None:
    # Pixel centres: x of the small picture is (X + 1/2) shrunk - 1/2 of the large one.
    offset = 0.5 * shrunk - 0.5
    shrink = np.array([[shrunk, 0, offset], [0, shrunk, offset], [0, 0, 1]])
    full = np.linalg.inv(shrink) @ camera @ shrink
    height, width = size
    corners = np.array([[0, 0, 1], [width, 0, 1], [0, height, 1], [width, height, 1]])
    moved = corners @ full.T
    moves = moved[:, :2] / moved[:, 2:] - corners[:, :2]
    return np.asarray(full, np.float32) if np.abs(moves).max() > _STILL else None


def _small(picture_HW: Floats) -> Floats:
    height, width = picture_HW.shape
    if height <= _LINES:
        return np.ascontiguousarray(picture_HW, np.float32)
    size = (round(width * _LINES / height), _LINES)
    return np.asarray(cv2.resize(picture_HW, size, interpolation=cv2.INTER_AREA), np.float32)


def _moved(frames_TCHW: Floats, cameras: Sequence[Camera | None]) -> Floats:
    return np.stack(
        [
            np.stack([_seen_from(plane_HW, camera, 0) for plane_HW in frame_CHW])
            for frame_CHW, camera in zip(frames_TCHW, cameras, strict=True)
        ]
    )


def _seen_from(plane_HW: Floats, camera: Camera | None, outside: float) -> Floats:
    """Move a plane to where the middle frame's camera would see it."""
    if camera is None:
        return plane_HW
    flags = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
    size = plane_HW.shape[::-1]
    moved = cv2.warpPerspective(plane_HW, camera, size, flags=flags, borderValue=outside)
    return np.asarray(moved, np.float32)
