"""Colour profiles in pictures: matrix and curves, as cameras, phones and editors embed them.

A profile whose colours are a table, as printers have, is refused by its name.
Source of all layouts: ICC.1:2022, 7.3, 9.2 and 10.
"""

import struct
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from layert2v_media.colour import REC709, adaptation, xyz_matrix
from layert2v_media.errors import UnreadableMedia
from layert2v_media.transfer import Pixels, linear_to_srgb

Curve = Callable[[Pixels], Pixels]
_D50 = np.array([0.9642, 1.0, 0.8249])
"""White of the connection space. Source: ICC.1:2022, 7.2.16."""
_MAX_BYTES = 1 << 24
_PARAMETERS = (1, 3, 4, 5, 7)
"""Numbers of parameters of parametric curves, by function type. Source: ICC.1:2022, table 68."""


class _NotMatrix(ValueError):
    """Raised when a profile is of another kind, or damaged."""


@dataclass(frozen=True)
class _Profile:
    name: str
    space: bytes
    tags: dict[bytes, bytes]


def from_profile(path: Path, codes_HWC: Pixels, icc: bytes) -> Pixels:
    """Turn code values of a profile into sRGB, clipped.

    Args:
        path: File to name in a message.
        codes_HWC: (H, W, 3); grey has three equal channels.
        icc: The profile.

    Raises:
        UnreadableMedia: It is damaged, or no profile of a matrix and curves.
    """
    name = "unknown"
    try:
        profile = _read(icc)
        name = profile.name
        linear_HWC = _linear(profile, codes_HWC)
    except (_NotMatrix, struct.error, UnicodeDecodeError, np.linalg.LinAlgError) as failure:
        raise UnreadableMedia(
            path,
            f"holds the colour profile {name}, which is not read ({failure}): convert it to sRGB",
        ) from failure
    return _unless_equal(codes_HWC, linear_to_srgb(linear_HWC.clip(0, 1)))


def _unless_equal(codes_HWC: Pixels, srgb_HWC: Pixels) -> Pixels:
    """Give the code values as they are where the profile is sRGB but for its rounding."""
    is_equal = bool(np.abs(srgb_HWC - codes_HWC).max(initial=0) < 1.5 / 255)
    return codes_HWC if is_equal else srgb_HWC


def _read(icc: bytes) -> _Profile:
    if not 132 <= len(icc) <= _MAX_BYTES or icc[36:40] != b"acsp":
        raise _NotMatrix("it is damaged")
    (count,) = struct.unpack_from(">I", icc, 128)
    tags = {}
    for k in range(min(count, 100)):
        signature, offset, size = struct.unpack_from(">4sII", icc, 132 + 12 * k)
        tags[signature] = icc[offset : offset + size]
    return _Profile(_name(tags.get(b"desc", b"")), icc[16:20], tags)


def _name(tag: bytes) -> str:
    """Read a profile's name: plain text of version 2, or the first of several languages."""
    if tag[:4] == b"desc" and len(tag) > 12:
        (size,) = struct.unpack_from(">I", tag, 8)
        text = tag[12 : 12 + size].decode("latin-1")
    elif tag[:4] == b"mluc" and len(tag) >= 28:
        size, offset = struct.unpack_from(">II", tag, 20)
        text = tag[offset : offset + size].decode("utf-16-be", "replace")
    else:
        return "without a name"
    printable = "".join(letter for letter in text if letter.isprintable())
    return printable.strip()[:60] or "without a name"


def _linear(profile: _Profile, codes_HWC: Pixels) -> Pixels:
    """Give linear light of Rec. 709 primaries."""
    if profile.space == b"GRAY":
        return _curve(profile.tags.get(b"kTRC", b""))(codes_HWC)
    if profile.space != b"RGB ":
        raise _NotMatrix(f"its colours are {profile.space.decode('latin-1').strip()}")
    if b"A2B0" in profile.tags and b"rXYZ" not in profile.tags:
        raise _NotMatrix("its colours are a table")
    columns = [_xyz(profile.tags.get(name, b"")) for name in (b"rXYZ", b"gXYZ", b"bXYZ")]
    curves = [_curve(profile.tags.get(name, b"")) for name in (b"rTRC", b"gTRC", b"bTRC")]
    light = [curve(codes_HWC[..., k]) for k, curve in enumerate(curves)]
    to_709 = _rec709_from_d50() @ np.stack(columns, axis=1)
    return np.asarray(np.stack(light, -1) @ to_709.T, np.float32)


def _rec709_from_d50() -> NDArray[np.float64]:
    ours = xyz_matrix(REC709)
    return np.asarray(np.linalg.inv(ours) @ adaptation(_D50, ours.sum(1)), np.float64)


def _xyz(tag: bytes) -> NDArray[np.float64]:
    if tag[:4] != b"XYZ " or len(tag) < 20:
        raise _NotMatrix("it has no matrix")
    return np.array(struct.unpack_from(">3i", tag, 8), np.float64) / 65536


def _curve(tag: bytes) -> Curve:
    if tag[:4] == b"curv" and len(tag) >= 12:
        return _table(tag)
    if tag[:4] == b"para" and len(tag) >= 16:
        return _parametric(tag)
    raise _NotMatrix("it has no curves")


def _table(tag: bytes) -> Curve:
    (count,) = struct.unpack_from(">I", tag, 8)
    if count == 0:
        return lambda codes: codes
    if count > (len(tag) - 12) // 2:
        raise _NotMatrix("a curve is cut short")
    values = np.frombuffer(tag, ">u2", count, 12).astype(np.float64)
    if count == 1:
        gamma = float(values[0]) / 256
        return lambda codes: np.power(codes.clip(0), np.float32(gamma))
    places = np.linspace(0, 1, count)
    return lambda codes: np.interp(codes, places, values / 65535).astype(np.float32)


def _parametric(tag: bytes) -> Curve:
    (kind,) = struct.unpack_from(">H", tag, 8)
    if kind >= len(_PARAMETERS):
        raise _NotMatrix(f"it has curves of the unknown kind {kind}")
    given = np.array(struct.unpack_from(f">{_PARAMETERS[kind]}i", tag, 12), np.float64) / 65536
    g, a, b, c, d, e, f = _full_parameters(kind, [float(value) for value in given])

    def curve(codes: Pixels) -> Pixels:
        bright = np.power(np.maximum(a * codes + b, 0), g) + e
        return np.where(codes >= d, bright, c * codes + f).astype(np.float32)

    return curve


def _full_parameters(kind: int, given: list[float]) -> tuple[float, ...]:
    """Give g, a, b, c, d, e, f of Y = (a X + b) ^ g + e from d on, c X + f below."""
    if kind == 0:
        return (given[0], 1, 0, 0, -1, 0, 0)
    g, a, b, *rest = given
    if kind in (1, 2):
        shift = rest[0] if kind == 2 else 0.0
        return (g, a, b, 0, -b / a if a else 0, shift, shift)
    c, d = rest[0], rest[1]
    e, f = (rest[2], rest[3]) if kind == 4 else (0.0, 0.0)
    return (g, a, b, c, d, e, f)
