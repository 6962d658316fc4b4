"""Mattes by a model for single pictures, given a close-up of each subject."""

import numpy as np

from layert2v_training.data.clips import Pixels
from layert2v_training.engine.cuts import Codes
from layert2v_training.engine.moving_subjects import Rectangle
from layert2v_training.engine.onnx_mattes import OnnxMatter

_MARGIN = 0.3
"""Share of the box added on each side. A salient subject needs surroundings."""


class CropMatter:
    """Asks a picture matter about a close-up per frame."""

    def __init__(self, model: OnnxMatter) -> None:
        self._model = model

    def mattes(self, frames_THWC: Codes, boxes: list[Rectangle | None]) -> Pixels:
        """Give alpha (T, H, W) in [0, 1]. Frames are independent of each other."""
        alpha_THW = np.zeros(frames_THWC.shape[:3], np.float32)
        for frame, alpha, box in zip(frames_THWC, alpha_THW, boxes, strict=True):
            if box is not None:
                rows, columns = _padded(box, *alpha.shape)
                alpha[rows, columns] = self._model.matte(frame[rows, columns])
        return alpha_THW


def _padded(box: Rectangle, height: int, width: int) -> tuple[slice, slice]:
    left, top, right, bottom = box
    x, y = round(_MARGIN * (right - left)) + 4, round(_MARGIN * (bottom - top)) + 4
    return (
        slice(max(top - y, 0), min(bottom + y, height)),
        slice(max(left - x, 0), min(right + x, width)),
    )
