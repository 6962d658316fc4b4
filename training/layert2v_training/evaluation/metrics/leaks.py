"""Traces of one layer in another: family L, but for spill, which the layers carry.

Definitions: `docs/evaluation.md`. A figure is None where it is undefined.
"""

from itertools import combinations

import cv2
import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from layert2v_model.finishing import report
from layert2v_model.finishing.fill import Floats, pixels_per_unit
from layert2v_model.finishing.report import COVERED, OPEN, eroded, luma
from layert2v_training.evaluation.metrics.camera import Steadied
from layert2v_training.evaluation.metrics.take_planes import Planes, Region, within

_SCALES = (4.0, 16.0)
"""Sigmas of what is low frequency, in units of 192 lines: 2 and 8 pixels at 96."""
_SHIFTS = ((0.25, 0.0), (0.0, 0.25), (0.25, 0.25), (0.5, 0.5))
"""Shifts of pictures, as shares of height and width, that give the correlation of chance."""
_FLAT = 1e-4
"""Added to both mean changes, 1/40 of a code value: still pictures give 1."""
_EDGE_BAND = 10.0
"""Units around the 0.5 contour in which a soft matte is expected: 5 pixels at 96 lines."""


def ghost_slope(steady: Steadied) -> float | None:
    """Share of the foregrounds' light that stands in the plate, under any motion of the camera.

    Finishing's own figure (`report.ghost_slope`) takes the camera to be at rest.
    """
    return report.ghost_slope(steady.plate_TCHW, steady.full_TCHW, steady.coverage_THW)


def ghost_judged(steady: Steadied) -> float | None:
    """Share of what is plainly covered whose bare plate some frame shows: what the slope sees."""
    core_THW = eroded(steady.coverage_THW > COVERED)
    if not core_THW.any():
        return None
    shown_HW = (steady.coverage_THW < OPEN).any(axis=0)
    return float((core_THW & shown_HW).sum() / core_THW.sum())


def ghost_correlation(planes: Planes) -> float | None:
    """Correlation of fine detail of plate and full video under foregrounds, less chance.

    The mean of two scales. It reacts above a ghost of about a tenth; ghost slope below.
    """
    return _detail_shared(planes.background_TCHW, planes.full_TCHW, planes.core_THW)


def foreground_copy(planes: Planes) -> float | None:
    """Correlation of detail of foreground colour and plate outside the matte, less chance."""
    values = [
        _detail_shared(rgb_TCHW, planes.background_TCHW, alpha_THW < 0.05)
        for rgb_TCHW, alpha_THW in zip(planes.colours, planes.alphas, strict=True)
    ]
    known = [value for value in values if value is not None]
    return max(known) if known else None


def _detail_shared(a_TCHW: Floats, b_TCHW: Floats, region_THW: Region) -> float | None:
    if not region_THW.any():
        return None
    height, width = a_TCHW.shape[2:]
    shared = []
    for scale in _SCALES:
        sigma = scale * pixels_per_unit(height)
        a_THW, b_THW = _detail(a_TCHW, sigma), _detail(b_TCHW, sigma)
        chance = [
            _correlation(
                a_THW, np.roll(b_THW, (int(y * height), int(x * width)), (1, 2)), region_THW
            )
            for y, x in _SHIFTS
        ]
        shared.append(_correlation(a_THW, b_THW, region_THW) - float(np.mean(chance)))
    return float(np.mean(shared))


def _detail(frames_TCHW: Floats, sigma: float) -> Floats:
    lumas = [luma(frame_CHW) for frame_CHW in frames_TCHW]
    return np.stack([y_HW - cv2.GaussianBlur(y_HW, (0, 0), sigma) for y_HW in lumas])


def _correlation(a_THW: Floats, b_THW: Floats, region_THW: Region) -> float:
    """Normalised cross-correlation on a region; 0 where one side is flat."""
    a_N, b_N = (x_THW[region_THW] - x_THW[region_THW].mean() for x_THW in (a_THW, b_THW))
    size = float(np.sqrt(np.square(a_N).sum() * np.square(b_N).sum()))
    return float((a_N * b_N).sum()) / size if size > 1e-9 else 0.0


def background_disturbance(steady: Steadied) -> float | None:
    """Change of the plate where a foreground is or was, over that elsewhere; 1 is clean."""
    if len(steady.full_TCHW) < 2:
        return None
    lumas_THW = np.stack([luma(frame_CHW) for frame_CHW in steady.plate_TCHW])
    change_THW = np.abs(np.diff(lumas_THW, axis=0))
    hidden_THW = steady.coverage_THW > 0.5
    seen_THW = steady.seen_THW[1:] & steady.seen_THW[:-1]
    touched_THW = (hidden_THW[1:] | hidden_THW[:-1]) & seen_THW
    elsewhere_THW = ~touched_THW & seen_THW
    if not touched_THW.any() or not elsewhere_THW.any():
        return None
    there, elsewhere = change_THW[touched_THW].mean(), change_THW[elsewhere_THW].mean()
    return float((there + _FLAT) / (elsewhere + _FLAT))


def holes(planes: Planes) -> float | None:
    """Area of holes in mattes, over the mattes' area."""
    solid = [frame_HW > 0.5 for alpha_THW in planes.alphas for frame_HW in alpha_THW]
    area = sum(int(frame_HW.sum()) for frame_HW in solid)
    filled = sum(int(ndimage.binary_fill_holes(frame_HW).sum()) for frame_HW in solid)
    return (filled - area) / area if area else None


def specks(planes: Planes) -> float | None:
    """Area of mattes outside their largest piece, over the mattes' area: one subject a layer."""
    solid = [frame_HW > 0.5 for alpha_THW in planes.alphas for frame_HW in alpha_THW]
    area = sum(int(frame_HW.sum()) for frame_HW in solid)
    return sum(_outside_largest(frame_HW) for frame_HW in solid) / area if area else None


def _outside_largest(solid_HW: NDArray[np.bool_]) -> int:
    labels_HW, count = ndimage.label(solid_HW)
    sizes = np.bincount(labels_HW.ravel(), minlength=count + 1)[1:]
    return int(sizes.sum() - sizes.max()) if count else 0


def haze(planes: Planes) -> float:
    """Share of pixels with alpha from .05 to .95 far from their matte's contour."""
    reach = _EDGE_BAND * pixels_per_unit(planes.full_TCHW.shape[2])
    shares = []
    for alpha_THW in planes.alphas:
        inside_THW = alpha_THW > 0.5
        band_THW = within(inside_THW, reach) & within(~inside_THW, reach)
        shares.append(((alpha_THW > 0.05) & (alpha_THW < 0.95) & ~band_THW).mean())
    return float(np.mean(shares))


def layer_overlap(planes: Planes) -> float | None:
    """Shared alpha of two foregrounds over that of the smaller; the largest over all pairs."""
    values = []
    for a_THW, b_THW in combinations(planes.alphas, 2):
        smaller = min(float(a_THW.sum()), float(b_THW.sum()))
        if smaller:
            values.append(float(np.minimum(a_THW, b_THW).sum()) / smaller)
    return max(values) if values else None
