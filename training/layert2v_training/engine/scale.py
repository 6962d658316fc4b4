"""Sizes in pixels that were chosen at one height, at any other.

What is about subjects scales: reach, feather, gaps to close. What is about the noise of pixels
(the 3x3 opening, the blur before it) does not.
"""

import numpy as np
from numpy.typing import NDArray

LINES = 288
"""Height at which the engine's sizes were chosen, by looking at vtest.avi. Had they been taken as
sizes at 192 lines, they would have grown here, and u2netp would have been overruled in .79 of the
frames instead of .49 (medians, November 2026). No pedestrian agrees with a region half as wide
again."""


def pixels(at_lines: float, height: int) -> float:
    """Scale a length in pixels to a picture of `height` lines."""
    return at_lines * height / LINES


def square(at_lines: int, height: int, columns_at_lines: int | None = None) -> NDArray[np.uint8]:
    """Give a kernel of ones (rows, columns), odd, at least 1. Without columns it is square."""
    rows, columns = at_lines, columns_at_lines or at_lines
    return np.ones((_odd(rows, height), _odd(columns, height)), np.uint8)


def _odd(at_lines: int, height: int) -> int:
    """Scale the radius, so that the kernel keeps its middle."""
    return 2 * round(pixels((at_lines - 1) / 2, height)) + 1
