"""The clean plate of a still camera: what a pixel shows when no subject is in front of it.

Shape letters: T frames, H, W, C channels. Pixels are uint8 sRGB.
"""

import cv2
import numpy as np
from numpy.typing import NDArray

from layert2v_training.engine.cuts import Codes

_SAMPLES = 60
"""Frames that vote: 35 MB of them as floats at 256 x 192."""


def median_plate(frames_THWC: Codes) -> Codes:
    """Take the median over time (H, W, 3): right where subjects cover a pixel half the time."""
    chosen = frames_THWC[np.linspace(0, len(frames_THWC) - 1, _SAMPLES).astype(int)]
    return np.asarray(np.median(chosen, axis=0), np.uint8)


def clean_plate(frames_THWC: Codes, covered_THW: NDArray[np.bool_]) -> tuple[Codes, float]:
    """Take the median of uncovered moments. Inpaint what is covered always.

    Returns:
        The plate (H, W, 3), and the share of it that no frame shows.
    """
    chosen = np.unique(np.linspace(0, len(frames_THWC) - 1, _SAMPLES).astype(int))
    covered = covered_THW[chosen]
    values = np.where(covered[..., None], np.nan, frames_THWC[chosen].astype(np.float32))
    unseen_HW = covered.all(axis=0)
    values[:, unseen_HW] = 0
    plate = np.nanmedian(values, axis=0).astype(np.uint8)
    if unseen_HW.any():
        plate = cv2.inpaint(plate, unseen_HW.astype(np.uint8), 5, cv2.INPAINT_TELEA)
    return np.asarray(plate, np.uint8), float(unseen_HW.mean())
