"""Nearness of mattes and colours to known ones: family A.

Mattes are alpha (T, H, W) in [0, 1]. Sums (gradient, connectivity, SAD) are per frame and grow
with the number of pixels: compare them at one size only. Definitions: `docs/evaluation.md`.
"""

import math

import cv2
import numpy as np
from numpy.typing import NDArray

from layert2v_model.finishing.fill import Floats

_GRADIENT_SIGMA = 1.4
_KERNEL_END = 0.01
"""The Gaussian's kernel ends where it falls below this."""
_LEVELS = 10
_CONNECTED = 0.15
"""Sources: Rhemann et al., "A Perceptually Motivated Online Benchmark for Image Matting", CVPR
2009, 3 (gradient, connectivity); sigma, levels and threshold as its benchmark has them."""


def absolute_difference(made_THW: Floats, true_THW: Floats) -> float:
    """MAD: 1000 times the mean absolute difference."""
    return 1000 * float(np.abs(made_THW - true_THW).mean())


def squared_difference(made_THW: Floats, true_THW: Floats) -> float:
    """MSE: 1000 times the mean squared difference."""
    return 1000 * float(np.square(made_THW - true_THW).mean())


def sum_of_differences(made_THW: Floats, true_THW: Floats) -> float:
    """SAD: sum of absolute differences per frame, in thousands."""
    return float(np.abs(made_THW - true_THW).sum()) / (1000 * len(made_THW))


def gradient_difference(made_THW: Floats, true_THW: Floats) -> float:
    """Grad: squared difference of gradient magnitudes, summed per frame, in thousands."""
    pairs = zip(made_THW, true_THW, strict=True)
    sums = [np.square(_gradient(made) - _gradient(true)).sum() for made, true in pairs]
    return float(np.mean(sums)) / 1000


def _gradient(alpha_HW: Floats) -> Floats:
    half = math.ceil(
        _GRADIENT_SIGMA
        * math.sqrt(-2 * math.log(math.sqrt(2 * math.pi) * _GRADIENT_SIGMA * _KERNEL_END))
    )
    x = np.arange(-half, half + 1)
    bell = np.exp(-(x**2) / (2 * _GRADIENT_SIGMA**2))
    kernel = np.outer(bell, -x * bell)
    kernel /= np.sqrt(np.square(kernel).sum())
    along = [
        cv2.filter2D(alpha_HW, cv2.CV_32F, k, borderType=cv2.BORDER_REPLICATE)
        for k in (kernel, kernel.T)
    ]
    return np.hypot(*along)


def connectivity_difference(made_THW: Floats, true_THW: Floats) -> float:
    """Conn: difference of how far pixels hang together with the largest body, in thousands."""
    sums = []
    for made, true in zip(made_THW, true_THW, strict=True):
        level_HW = _last_connected_level(made, true)
        sums.append(np.abs(_hanging(made, level_HW) - _hanging(true, level_HW)).sum())
    return float(np.mean(sums)) / 1000


def _last_connected_level(made_HW: Floats, true_HW: Floats) -> Floats:
    """Last of the levels up to which a pixel belongs to the largest body above it in both."""
    level_HW = np.zeros_like(made_HW)
    belongs_HW = np.ones(made_HW.shape, np.bool_)
    for k in range(1, _LEVELS + 1):
        threshold = k / _LEVELS
        belongs_HW &= _largest_body((made_HW >= threshold) & (true_HW >= threshold))
        level_HW[belongs_HW] = threshold
    return level_HW


def _largest_body(region_HW: NDArray[np.bool_]) -> NDArray[np.bool_]:
    count, labels_HW, stats, _ = cv2.connectedComponentsWithStats(
        region_HW.astype(np.uint8), connectivity=4
    )
    if count == 1:
        return np.zeros(region_HW.shape, np.bool_)
    return np.asarray(labels_HW == 1 + int(stats[1:, cv2.CC_STAT_AREA].argmax()))


def _hanging(alpha_HW: Floats, level_HW: Floats) -> Floats:
    above_HW = alpha_HW - level_HW
    return np.float32(1) - above_HW * (above_HW >= _CONNECTED)


def change_difference(made_THW: Floats, true_THW: Floats) -> float | None:
    """dtSSD: 100 times the RMS difference of changes from frame to frame, mean over the changes.

    Unlike the common matting script, the first frame, which has no change, does not count as 0.

    Source: Erofeev et al., "Perceptually Motivated Benchmark for Video Matting", BMVC 2015.
    """
    if len(made_THW) < 2:
        return None
    miss_THW = np.diff(made_THW, axis=0) - np.diff(true_THW, axis=0)
    return 100 * float(np.sqrt(np.square(miss_THW).mean(axis=(1, 2))).mean())


def soft_iou(made_THW: Floats, true_THW: Floats) -> float:
    """Sum of the smaller over sum of the larger; 1 for equal mattes, two empty ones too.

    Source: Suzuki et al., "LayerD", ICCV 2025, soft IoU in the form of its code (min over max).
    """
    larger = float(np.maximum(made_THW, true_THW).sum())
    return float(np.minimum(made_THW, true_THW).sum()) / larger if larger else 1.0


def colour_difference(made_TCHW: Floats, true_TCHW: Floats, true_THW: Floats) -> float | None:
    """Mean absolute difference of straight colours, weighted by the true alpha."""
    weight = float(true_THW.sum())
    if not weight:
        return None
    return float((np.abs(made_TCHW - true_TCHW).mean(axis=1) * true_THW).sum()) / weight
