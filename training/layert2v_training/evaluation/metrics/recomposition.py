"""Whether layers flatten to their full video: families R1 to R3.

Never report these alone: a ghost of the foreground in the plate leaves them as they are.
Definitions: `docs/evaluation.md`. A figure is None where it is undefined.
"""

from itertools import permutations

import numpy as np
from skimage.metrics import structural_similarity

from layert2v_model.finishing.frames import composite
from layert2v_model.finishing.report import decibel
from layert2v_training.evaluation.metrics.take_planes import Planes, Region

_MOST_ORDERED = 3
"""Foregrounds of which all orders are tried: 6 composites."""
_SSIM_WINDOW = 7
"""Pixels a side, the library's default. Smaller pictures have no SSIM."""


def psnr_in(planes: Planes, region_THW: Region) -> float | None:
    """PSNR in dB of the composite against the full video, on a region of pixels."""
    errors_THW = np.square(planes.composite_TCHW - planes.full_TCHW).mean(axis=1)
    return decibel(float(errors_THW[region_THW].mean())) if region_THW.any() else None


def similarity(planes: Planes) -> float | None:
    """SSIM of the composite against the full video, mean over frames.

    Source: Wang et al., "Image Quality Assessment", IEEE TIP 2004, as scikit-image computes it.
    """
    if min(planes.full_TCHW.shape[2:]) < _SSIM_WINDOW:
        return None
    pairs = zip(planes.composite_TCHW, planes.full_TCHW, strict=True)
    values = [structural_similarity(c, v, channel_axis=0, data_range=1.0) for c, v in pairs]
    return float(np.mean(values))


def effects_residual(planes: Planes) -> float | None:
    """Mean |full - composite| near the foregrounds less that far away, in code values of 255.

    Shadows and reflections that the full video shows and no layer holds.
    """
    miss_THW = np.abs(planes.full_TCHW - planes.composite_TCHW).mean(axis=1)
    near_THW, far_THW = planes.near_THW, planes.open_THW & ~planes.near_THW
    if not near_THW.any() or not far_THW.any():
        return None
    return 255 * float(miss_THW[near_THW].mean() - miss_THW[far_THW].mean())


def order_margin(planes: Planes) -> float | None:
    """PSNR in dB of the given order of two or three foregrounds less that of the best other."""
    count = len(planes.alphas)
    if not 2 <= count <= _MOST_ORDERED:
        return None
    given, *others = [_psnr_of_order(planes, order) for order in permutations(range(count))]
    return given - max(others)


def _psnr_of_order(planes: Planes, order: tuple[int, ...]) -> float:
    errors = []
    for t, full_CHW in enumerate(planes.full_TCHW):
        colours = [planes.colours[k][t] for k in order]
        alphas = [planes.alphas[k][t] for k in order]
        composite_CHW = composite(planes.background_TCHW[t], colours, alphas)
        errors.append(np.square(composite_CHW - full_CHW).mean())
    return decibel(float(np.mean(errors)))
