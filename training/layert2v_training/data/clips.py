"""One training example, from any source.

Shape letters: T frames, H, W. Pixels are float32, display-referred sRGB in [0, 1], RGB straight.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import cv2
import numpy as np
from numpy.typing import NDArray

Pixels = NDArray[np.float32]


@dataclass(frozen=True, eq=False)
class ClipForeground:
    """A foreground of a clip."""

    rgb_THWC: Pixels
    """Straight colour (T, H, W, 3), defined also where alpha is 0 (extended from the subject)."""
    alpha_THW: Pixels
    """Coverage (T, H, W) in [0, 1]."""
    caption: str
    """Caption of the foreground and its motion."""


@dataclass(frozen=True, eq=False)
class LayeredClip:
    """A full video and its layers, back to front, with their captions."""

    full_THWC: Pixels
    """(T, H, W, 3): the foregrounds over the background; exactly so where it was composed."""
    background_THWC: Pixels
    """(T, H, W, 3), complete behind the foregrounds."""
    background_caption: str
    """Caption of the background and of the camera's motion."""
    foregrounds: tuple[ClipForeground, ...]
    """1 or more, back to front."""
    full_caption: str = ""
    """Caption of the whole picture. If empty, it is composed from the layers' captions."""


class ClipSource(Protocol):
    """A source of training clips."""

    @property
    def key(self) -> str:
        """A text that changes whenever a clip of the source does."""

    def clip(self, index: int) -> LayeredClip:
        """Give clip `index`, any integer from 0, the same for the same key."""


def flatten(background_THWC: Pixels, foregrounds: Sequence[ClipForeground]) -> Pixels:
    """Composite foregrounds over a background, back to front: (T, H, W, 3), sRGB."""
    full = background_THWC
    for layer in foregrounds:
        alpha_THWC = layer.alpha_THW[..., None]
        full = np.asarray(layer.rgb_THWC * alpha_THWC + full * (1 - alpha_THWC), np.float32)
    return full


def _blurred_widely(picture_HWC: Pixels) -> Pixels:
    """Blur by a tenth of the height, on a quarter of the rows and columns: a tenth of the time."""
    height, width = picture_HWC.shape[:2]
    small = cv2.resize(picture_HWC, (width // 4, height // 4), interpolation=cv2.INTER_AREA)
    small = cv2.GaussianBlur(small, (0, 0), height / 40)
    return np.asarray(cv2.resize(small, (width, height)), np.float32)


def straight(premultiplied_HWC: Pixels) -> Pixels:
    """Unpremultiply and extend the colour smoothly where alpha is 0 (normalised blur)."""
    rgb, alpha = premultiplied_HWC[..., :3], premultiplied_HWC[..., 3:]
    spread = _blurred_widely(premultiplied_HWC)
    spread, weight = spread[..., :3], spread[..., 3:]
    mean = rgb.sum((0, 1)) / max(float(alpha.sum()), 1e-6)
    extended = (spread + 1e-3 * mean) / (weight + 1e-3)
    exact = rgb / np.maximum(alpha, 1e-6)
    return np.clip(np.where(alpha > 1 / 255, exact, extended), 0, 1).astype(np.float32)
