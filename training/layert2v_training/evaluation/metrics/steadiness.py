"""Steadiness of streams in time: family T.

Compare each figure with the data's own, because a still picture is perfectly steady. Definitions:
`docs/evaluation.md`. A figure is None where there are too few frames.
"""

import cv2
import numpy as np

from layert2v_model.finishing.fill import Floats
from layert2v_model.finishing.report import eroded, luma

_STAYS = 0.3
"""Alpha above which a pixel counts as inside a matte. Source: docs/evaluation.md, T2."""


def temporal_flicker(frames_TCHW: Floats) -> float | None:
    """1 less the mean absolute difference of consecutive frames; 1 is still.

    Source: Huang et al., "VBench", CVPR 2024, temporal flickering.
    """
    if len(frames_TCHW) < 2:
        return None
    return 1 - float(np.abs(np.diff(frames_TCHW, axis=0)).mean())


def matte_core_flicker(alpha_THW: Floats) -> float | None:
    """1000 times the mean |second difference| of alpha in a matte's core; 0 is clean.

    The core is what stays above .3 for three frames, less its edge: there motion has no say.
    """
    if len(alpha_THW) < 3:
        return None
    inside_THW = alpha_THW > _STAYS
    core_THW = eroded(inside_THW[2:] & inside_THW[1:-1] & inside_THW[:-2])
    second_THW = np.abs(np.diff(alpha_THW, n=2, axis=0))
    return 1000 * float(second_THW[core_THW].mean()) if core_THW.any() else None


def matte_area_flicker(alpha_THW: Floats) -> float | None:
    """Mean |second difference| of the matte's area, over its mean area; 0 is clean."""
    areas_T = alpha_THW.sum(axis=(1, 2), dtype=np.float64)
    if len(areas_T) < 3 or not areas_T.any():
        return None
    return float(np.abs(np.diff(areas_T, n=2)).mean() / areas_T.mean())


def warp_error(frames_TCHW: Floats) -> float | None:
    """Mean |next frame - this frame moved by optical flow| where flow is consistent; 0 is steady.

    Source: Lai et al., "Learning Blind Video Temporal Consistency", ECCV 2018, 4.2; flow is DIS of
    OpenCV, consistent by the test of Sundaram et al., "Dense Point Trajectories", ECCV 2010.
    """
    errors = [_warp_error(frames_TCHW[t], frames_TCHW[t + 1]) for t in range(len(frames_TCHW) - 1)]
    return float(np.mean(errors)) if errors else None


def _warp_error(this_CHW: Floats, next_CHW: Floats) -> float:
    flow = cv2.DISOpticalFlow.create(cv2.DISOPTICAL_FLOW_PRESET_MEDIUM)
    this_HW, next_HW = ((luma(x).clip(0, 1) * 255).astype(np.uint8) for x in (this_CHW, next_CHW))
    back_HW2, forth_HW2 = flow.calc(next_HW, this_HW, None), flow.calc(this_HW, next_HW, None)
    y_HW, x_HW = np.indices(this_HW.shape, dtype=np.float32)
    from_x, from_y = x_HW + back_HW2[..., 0], y_HW + back_HW2[..., 1]
    moved_HWC = cv2.remap(np.moveaxis(this_CHW, 0, 2), from_x, from_y, cv2.INTER_LINEAR)
    returned_HW2 = cv2.remap(forth_HW2, from_x, from_y, cv2.INTER_LINEAR)
    height, width = this_HW.shape
    inside_HW = (from_x >= 0) & (from_x <= width - 1) & (from_y >= 0) & (from_y <= height - 1)
    # Consistent: going there and back ends near the start (constants of Sundaram et al.).
    gap_HW = np.square(back_HW2 + returned_HW2).sum(axis=2)
    size_HW = np.square(back_HW2).sum(axis=2) + np.square(returned_HW2).sum(axis=2)
    seen_HW = inside_HW & (gap_HW <= 0.01 * size_HW + 0.5)
    if not seen_HW.any():
        return 0.0
    return float(np.abs(np.moveaxis(next_CHW, 0, 2) - moved_HWC)[seen_HW].mean())
