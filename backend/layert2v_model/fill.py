"""Known values extended smoothly over unknown pixels, and distances to a region.

Shape letters: H, W, C channels. Arrays are float32 numpy. Weights lie in [0, 1]: 1 is known, 0
unknown. Lengths are in pixels of a picture 192 lines high, the size at which they were chosen.
"""

import math

import cv2
import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float32]
Box = tuple[slice, slice]
"""Rows and columns of a part of a picture."""

LINES = 192
"""Height at which lengths are given: that of the published samples they were tuned on."""
_SMALLEST_UNIT = 1 / 3
"""Pixels per unit of length at least; smaller pictures keep a band one pixel wide."""
_NOWHERE = np.float32(1e4)
"""Distance to a region that is empty."""
_RELAXATIONS = 2
"""Steps of relaxation per level: enough that no level's pixel grid shows on the samples."""
_FINEST_LINES = 2 * LINES
"""Levels higher than this are not relaxed: a unit is several of their pixels, so nothing shows."""


def pixels_per_unit(height: int) -> float:
    """Length of one unit, a pixel at 192 lines, in pixels of a picture of this height."""
    return max(height / LINES, _SMALLEST_UNIT)


def ramp(values: Floats, low: float, high: float) -> Floats:
    """Rise from 0 at `low` to 1 at `high`, smooth at both ends (smoothstep)."""
    t = ((values - np.float32(low)) / np.float32(high - low)).clip(0, 1)
    return t * t * (3 - 2 * t)


def distance_to(region_HW: NDArray[np.bool_]) -> Floats:
    """Distance of each pixel to the region, in units; 0 inside, 10000 if the region is empty."""
    if not region_HW.any():
        return np.full(region_HW.shape, _NOWHERE, np.float32)
    outside = (~region_HW).astype(np.uint8)
    distance_HW = cv2.distanceTransform(outside, cv2.DIST_L2, cv2.DIST_MASK_PRECISE)
    unit = np.float32(pixels_per_unit(region_HW.shape[0]))
    return np.asarray(distance_HW / unit, dtype=np.float32)


def box_around(region_HW: NDArray[np.bool_], margin: float) -> Box | None:
    """Rows and columns of the region's bounding box, `margin` units larger; None if it is empty."""
    if not region_HW.any():
        return None
    height, width = region_HW.shape
    pixels = math.ceil(margin * pixels_per_unit(height))
    rows, columns = (np.flatnonzero(region_HW.any(axis=axis)) for axis in (1, 0))
    return (
        slice(max(int(rows[0]) - pixels, 0), min(int(rows[-1]) + pixels + 1, height)),
        slice(max(int(columns[0]) - pixels, 0), min(int(columns[-1]) + pixels + 1, width)),
    )


def largest(values_HWC: Floats) -> Floats:
    """Largest of the three channels; several times faster than a maximum over the last axis."""
    red_HW, green_HW, blue_HW = cv2.split(values_HWC)
    return np.asarray(cv2.max(cv2.max(red_HW, green_HW), blue_HW), dtype=np.float32)


def summed(values_HWC: Floats) -> Floats:
    """Sum of the three channels; several times faster than a sum over the last axis."""
    ones = np.ones((1, 3), np.float32)
    return np.asarray(cv2.transform(values_HWC, ones), np.float32).reshape(values_HWC.shape[:2])


def extend(values_HWC: Floats, known_HW: Floats) -> Floats:
    """Fill unknown pixels with a membrane through the known ones; known pixels stay.

    Partly known pixels are a mix in that proportion. Where nothing at all is known the result is 0.

    Returns:
        (H, W, C), deterministic.

    Source:
        Gortler et al., "The Lumigraph", SIGGRAPH 1996, 3.3: pull-push; here each level is also
        relaxed towards Laplace's equation, which removes the pyramid's blocks.
    """
    weighted_HWC = values_HWC * known_HW[..., None]
    unknown_HW1 = 1 - known_HW[..., None]
    height, width = known_HW.shape
    if max(height, width) <= 2:
        total = max(float(known_HW.sum()), 1e-6)
        return weighted_HWC + unknown_HW1 * (weighted_HWC.sum(axis=(0, 1)) / np.float32(total))
    half = ((width + 1) // 2, (height + 1) // 2)
    sums_HWC = cv2.resize(weighted_HWC, half, interpolation=cv2.INTER_AREA)
    weights_HW = cv2.resize(known_HW, half, interpolation=cv2.INTER_AREA)
    coarse_HWC = sums_HWC / np.maximum(weights_HW, np.float32(1e-6))[..., None]
    # A coarse pixel is known as well as its four parts together (the "pull" of the paper).
    coarse_HWC = extend(coarse_HWC, np.minimum(weights_HW * 4, np.float32(1)))
    filled_HWC = cv2.resize(coarse_HWC, (width, height), interpolation=cv2.INTER_LINEAR)
    for _ in range(_RELAXATIONS if height <= _FINEST_LINES else 0):
        filled_HWC = weighted_HWC + unknown_HW1 * filled_HWC
        filled_HWC = cv2.blur(filled_HWC, (3, 3), borderType=cv2.BORDER_REPLICATE)
    return weighted_HWC + unknown_HW1 * filled_HWC
