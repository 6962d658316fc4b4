"""Pictures as people see them: turned and flipped as the file says, pixels made square.

Shape letters: H, W, C channels.
"""

import struct
from fractions import Fraction
from pathlib import Path
from typing import TypeVar

import cv2
import numpy as np
from numpy.typing import NDArray

from layert2v_media.errors import UnreadableMedia
from layert2v_media.limits import check_size
from layert2v_media.transfer import Pixels

Array = TypeVar("Array", bound=NDArray[np.generic])

_EXIF_TURNS = {1: (0, False), 2: (0, True), 3: (2, False), 4: (2, True), 5: (-1, True),
               6: (-1, False), 7: (1, True), 8: (1, False)}  # fmt: skip
"""Quarter turns against the clock, and whether a mirror from left to right follows, by EXIF
orientation. Source: CIPA DC-008 (EXIF 2.32), 4.6.4 A."""
_MATRIX_TURNS = {
    (1, 0, 0, 1): (0, False), (0, 1, -1, 0): (-1, False), (-1, 0, 0, -1): (2, False),
    (0, -1, 1, 0): (1, False), (-1, 0, 0, 1): (0, True), (1, 0, 0, -1): (2, True),
    (0, 1, 1, 0): (-1, True), (0, -1, -1, 0): (1, True),
}  # fmt: skip
"""The same turns by the signs of a, b, c, d of a display matrix. The matrix takes (x, y) to (a x +
c y, b x + d y). Source: ISO/IEC 14496-12, 8.3.2."""
Turn = tuple[int, bool]


def exif_turn(path: Path, orientation: int) -> Turn:
    """Give the turn that an EXIF orientation asks for.

    Raises:
        UnreadableMedia: It is none of 1 to 8.
    """
    if orientation not in _EXIF_TURNS:
        reason = f"has the EXIF orientation {orientation}, which is not from 1 to 8: correct it"
        raise UnreadableMedia(path, reason)
    return _EXIF_TURNS[orientation]


def matrix_turn(path: Path, matrix: bytes) -> Turn:
    """Give the turn that a movie's display matrix asks for.

    Args:
        path: File to name in a message.
        matrix: Nine 32-bit numbers, as FFmpeg gives them.

    Raises:
        UnreadableMedia: It is no quarter turn or mirror.
    """
    a, b, _, c, d, *_ = struct.unpack("=9i", matrix[:36])
    size = max(abs(a), abs(b), abs(c), abs(d), 1)
    parts = tuple(round(value / size) for value in (a, b, c, d))
    rest = max(abs(value / size - part) for value, part in zip((a, b, c, d), parts, strict=True))
    if parts not in _MATRIX_TURNS or rest > 0.01:
        reason = "is not turned by a multiple of 90 degrees: export it upright"
        raise UnreadableMedia(path, reason)
    return _MATRIX_TURNS[parts]


def turned(picture: Array, turn: Turn) -> Array:
    """Turn and mirror a picture (H, W, ...)."""
    quarters, mirrored = turn
    upright = np.rot90(picture, quarters)
    return np.ascontiguousarray(upright[:, ::-1] if mirrored else upright)  # type: ignore[return-value]


def turned_size(width: int, height: int, turn: Turn) -> tuple[int, int]:
    """Give width and height after a turn."""
    return (height, width) if turn[0] % 2 else (width, height)


def square_width(path: Path, width: int, height: int, aspect: Fraction) -> int:
    """Give the width that makes pixels of an aspect (width over height) square.

    Raises:
        UnreadableMedia: The picture would be too large, or empty.
    """
    square = round(width * aspect)
    check_size(path, square, height)
    return square


def widened(picture_HWC: Pixels, width: int) -> Pixels:
    """Scale a picture to a width; alpha, the fourth channel, weighs the colours."""
    height, old_width = picture_HWC.shape[:2]
    if width == old_width:
        return picture_HWC
    how = cv2.INTER_AREA if width < old_width else cv2.INTER_LINEAR
    if picture_HWC.shape[2] != 4:
        scaled = cv2.resize(picture_HWC, (width, height), interpolation=how)
        return np.asarray(scaled, np.float32).reshape(height, width, -1)
    alpha_HW1 = picture_HWC[..., 3:]
    weighed = np.concatenate([picture_HWC[..., :3] * alpha_HW1, alpha_HW1], -1)
    scaled = np.asarray(cv2.resize(weighed, (width, height), interpolation=how), np.float32)
    scaled[..., :3] /= scaled[..., 3:].clip(1e-6)
    return scaled.clip(0, 1)
