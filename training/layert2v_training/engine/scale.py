"""Sizes in pixels that were chosen at one height, at any other.

What is about subjects scales: reach, feather, gaps to close. What is about the noise of pixels
(the 3x3 opening, the blur before it) does not.
"""

import numpy as np
from numpy.typing import NDArray

LINES = 192
"""Height at which the engine's sizes were chosen."""


def pixels(at_192: float, height: int) -> float:
    """Scale a length in pixels to a picture of `height` lines."""
    return at_192 * height / LINES


def square(at_192: int, height: int, columns_at_192: int | None = None) -> NDArray[np.uint8]:
    """Give a kernel of ones (rows, columns), odd, at least 1; without columns it is square."""
    rows, columns = at_192, columns_at_192 or at_192
    return np.ones((_odd(rows, height), _odd(columns, height)), np.uint8)


def _odd(at_192: int, height: int) -> int:
    """Scale the radius, so that the kernel keeps its middle."""
    return 2 * round(pixels((at_192 - 1) / 2, height)) + 1
