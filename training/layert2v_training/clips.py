"""One training example, whatever it came from.

Shape letters: T frames, H, W. Pixels are float32, display-referred sRGB in [0, 1], RGB straight.
"""

from dataclasses import dataclass

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
    """What it shows and does."""


@dataclass(frozen=True, eq=False)
class LayeredClip:
    """A full video and the layers it is made of, back to front, with their captions."""

    full_THWC: Pixels
    """(T, H, W, 3): the foregrounds composited over the background, exactly."""
    background_THWC: Pixels
    """(T, H, W, 3), complete behind the foregrounds."""
    background_caption: str
    """What the background shows and how the camera moves."""
    foregrounds: tuple[ClipForeground, ...]
    """1 or more, back to front."""
