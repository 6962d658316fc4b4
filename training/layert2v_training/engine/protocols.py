"""Protocols of the engine's tools, which different models fulfil."""

from collections.abc import Sequence
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from layert2v_training.data.clips import Pixels
from layert2v_training.engine.cuts import Codes
from layert2v_training.engine.moving_subjects import Rectangle
from layert2v_training.engine.redundancy import Telling


class ToolUnavailable(RuntimeError):
    """Raised when a tool's package or weights are missing. The message says how to give them."""


class SubjectMatter(Protocol):
    """Cuts a subject out of a shot."""

    def mattes(self, frames_THWC: Codes, boxes: list[Rectangle | None]) -> Pixels:
        """Give alpha (T, H, W) in [0, 1] of the subject in a box per frame; 0 without a box."""


class PlatePainter(Protocol):
    """Removes subjects from a clip."""

    def plates(self, frames_THWC: Codes, covered_THW: NDArray[np.bool_], words: str) -> Codes:
        """Fill the covered pixels: a plate per frame (T, H, W, 3) that shows `words`."""


class ClipCaptioner(Protocol):
    """Describes a picture in words."""

    def background(self, plate_HWC: Codes) -> str:
        """Caption a clean plate."""

    def subject(self, frames_THWC: Codes, boxes: list[Rectangle | None]) -> str:
        """Caption the subject in the boxes, and its motion."""

    def telling(self, captions: Sequence[str]) -> Telling:
        """Give the part of a clip's captions that tells it from other clips."""
