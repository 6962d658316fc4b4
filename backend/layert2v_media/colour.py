"""Colours as files say them, to display-referred sRGB of Rec. 709 primaries.

Numbers are code points of ITU-T H.273, which movies and PNG use. EXR and profiles give
chromaticities or matrices instead.
"""

from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from layert2v_media.errors import UnreadableMedia
from layert2v_media.transfer import (
    Pixels,
    gamma_to_linear,
    hlg_to_linear,
    linear_to_srgb,
    pq_to_linear,
    srgb_to_linear,
)

Chromaticities = tuple[float, float, float, float, float, float, float, float]
"""x and y of red, green, blue and white, in the order of EXR's attribute."""

_D65, _C, _DCI = (0.3127, 0.3290), (0.310, 0.316), (0.314, 0.351)
REC709: Chromaticities = (0.64, 0.33, 0.30, 0.60, 0.15, 0.06, *_D65)
"""Source: ITU-R BT.709-6, table 1."""
PRIMARIES: dict[int, Chromaticities] = {
    1: REC709,
    4: (0.67, 0.33, 0.21, 0.71, 0.14, 0.08, *_C),
    5: (0.64, 0.33, 0.29, 0.60, 0.15, 0.06, *_D65),
    6: (0.630, 0.340, 0.310, 0.595, 0.155, 0.070, *_D65),
    7: (0.630, 0.340, 0.310, 0.595, 0.155, 0.070, *_D65),
    8: (0.681, 0.319, 0.243, 0.692, 0.145, 0.049, *_C),
    9: (0.708, 0.292, 0.170, 0.797, 0.131, 0.046, *_D65),
    11: (0.680, 0.320, 0.265, 0.690, 0.150, 0.060, *_DCI),
    12: (0.680, 0.320, 0.265, 0.690, 0.150, 0.060, *_D65),
    22: (0.630, 0.340, 0.295, 0.605, 0.155, 0.077, *_D65),
}
"""Primaries by code point. Source: ITU-T H.273 (07/2021), table 2."""
_BRADFORD = np.array(
    [[0.8951, 0.2664, -0.1614], [-0.7502, 1.7135, 0.0367], [0.0389, -0.0685, 1.0296]]
)
"""Cone responses for adapting white. Source: ICC.1:2022, annex E."""
_UNSAID = 2
_AS_SRGB = (1, _UNSAID, 6, 7, 11, 12, 13, 14, 15)
"""Transfers of SDR video: shown as they are coded, which is how Blender and editors take them."""
_LINEAR, _PQ, _HLG = 8, 16, 18
_GAMMAS = {4: 2.2, 5: 2.8}
_TRANSFER_NAMES = {9: "a logarithm (100:1)", 10: "a logarithm (316:1)", 17: "SMPTE 428 (DCI)"}


@dataclass(frozen=True)
class Colour:
    """The statements of a file about its RGB."""

    transfer: int = _UNSAID
    primaries: int = _UNSAID

    @property
    def is_srgb(self) -> bool:
        """Tell whether code values are sRGB already."""
        return self.transfer in _AS_SRGB and self.primaries in (1, _UNSAID)


def to_srgb(path: Path, codes_HWC: Pixels, colour: Colour) -> Pixels:
    """Turn code values into sRGB.

    HDR becomes SDR by one rule: light of 203 cd/m2 is white, primaries become Rec. 709, what is
    brighter or outside is clipped.

    Args:
        path: File to name in a message.
        codes_HWC: (H, W, 3), R'G'B' in [0, 1], full range.
        colour: Statements of the file.

    Raises:
        UnreadableMedia: The file says a transfer or primaries that are not known.
    """
    if colour.is_srgb:
        return codes_HWC
    linear_HWC = _to_linear(path, codes_HWC, colour.transfer)
    primaries = colour.primaries
    if primaries == _UNSAID:
        primaries = 9 if colour.transfer in (_PQ, _HLG) else 1
    if primaries not in PRIMARIES:
        raise UnreadableMedia(
            path,
            f"says colour primaries {primaries} (H.273), which are not known here: convert it to "
            f"Rec. 709",
        )
    linear_HWC = to_rec709(linear_HWC, PRIMARIES[primaries])
    return linear_to_srgb(linear_HWC.clip(0, 1))


def _to_linear(path: Path, codes_HWC: Pixels, transfer: int) -> Pixels:
    if transfer in _AS_SRGB:
        return srgb_to_linear(codes_HWC)
    if transfer in _GAMMAS:
        return gamma_to_linear(codes_HWC, _GAMMAS[transfer])
    if transfer == _LINEAR:
        return codes_HWC
    if transfer == _PQ:
        return pq_to_linear(codes_HWC)
    if transfer == _HLG:
        return hlg_to_linear(codes_HWC)
    said = _TRANSFER_NAMES.get(transfer, f"number {transfer} of H.273")
    raise UnreadableMedia(path, f"has the transfer curve {said}: convert it to Rec. 709 or sRGB")


def to_rec709(linear_HWC: Pixels, primaries: Chromaticities) -> Pixels:
    """Turn linear light of any primaries into Rec. 709; white stays white (Bradford)."""
    if np.allclose(primaries, REC709, atol=1e-3):
        return linear_HWC
    return np.asarray(linear_HWC @ rec709_matrix(primaries).T, np.float32)


@lru_cache(maxsize=64)
def rec709_matrix(primaries: Chromaticities) -> NDArray[np.float32]:
    """Make the matrix (3, 3) from linear light of some primaries to Rec. 709.

    Raises:
        ValueError: The chromaticities span no colours.
    """
    source, target = xyz_matrix(primaries), xyz_matrix(REC709)
    adapted = adaptation(_white(primaries), _white(REC709)) @ source
    return np.asarray(np.linalg.inv(target) @ adapted, np.float32)


def xyz_matrix(primaries: Chromaticities) -> NDArray[np.float64]:
    """Make the matrix (3, 3) from linear RGB to XYZ, white at Y = 1.

    Raises:
        ValueError: The chromaticities span no colours.
    """
    values = np.array(primaries, np.float64)
    if not np.isfinite(values).all() or np.abs(values[1::2]).min() < 1e-6:
        raise ValueError("chromaticities with y = 0 or no number")
    columns = np.stack([_xyz(values[k], values[k + 1]) for k in (0, 2, 4)], axis=1)
    if abs(np.linalg.det(columns)) < 1e-6:
        raise ValueError("chromaticities on one line")
    return np.asarray(columns * np.linalg.solve(columns, _white(primaries)), np.float64)


def adaptation(
    source_white: NDArray[np.float64], target_white: NDArray[np.float64]
) -> NDArray[np.float64]:
    """Make the Bradford matrix (3, 3) in XYZ from one white to another, each XYZ."""
    ratios = (_BRADFORD @ target_white) / (_BRADFORD @ source_white)
    return np.asarray(np.linalg.inv(_BRADFORD) @ (ratios[:, None] * _BRADFORD), np.float64)


def _white(primaries: Chromaticities) -> NDArray[np.float64]:
    return _xyz(primaries[6], primaries[7])


def _xyz(x: float, y: float) -> NDArray[np.float64]:
    return np.array([x / y, 1.0, (1 - x - y) / y], np.float64)
