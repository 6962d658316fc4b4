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
    """Raised when a tool's package or weights are not there. The message says what to give."""


class SubjectMatter(Protocol):
    """Cuts a subject out of a shot."""

    def mattes(self, frames_THWC: Codes, boxes: list[Rectangle | None]) -> Pixels:
        """Give alpha (T, H, W) in [0, 1] of the subject in a box per frame; 0 without a box."""


class PlatePainter(Protocol):
    """Removes subjects from a clip."""

    def plates(self, frames_THWC: Codes, covered_THW: NDArray[np.bool_], words: str) -> Codes:
        """Paint what is covered: a plate per frame (T, H, W, 3) that shows `words`."""


class ClipCaptioner(Protocol):
    """Writes what a picture shows."""

    def background(self, plate_HWC: Codes) -> str:
        """Caption a clean plate."""

    def subject(self, frames_THWC: Codes, boxes: list[Rectangle | None]) -> str:
        """Caption what is in the boxes, and how it moves."""

    def telling(self, captions: Sequence[str]) -> Telling:
        """Give what of a clip's captions tells it from others."""
