"""Transfer curves between code values and light. Light of 1 is the white of an SDR display."""

import cv2
import numpy as np
from numpy.typing import NDArray

Pixels = NDArray[np.float32]

ALPHA_FLOOR = 1.0 / 512.0
"""Alpha below which a premultiplied 8-bit colour is rounding noise: half a code value."""
SDR_WHITE_NITS = 203.0
"""Luminance of diffuse white in HDR pictures, which becomes SDR white. Source: ITU-R BT.2408-7."""
_PQ_PEAK_NITS = 10000.0
_M1, _M2 = 2610 / 16384, 2523 / 4096 * 128
_C1, _C2, _C3 = 3424 / 4096, 2413 / 4096 * 32, 2392 / 4096 * 32
"""Constants of the PQ curve. Source: SMPTE ST 2084:2014, 5.2."""
_HLG_A, _HLG_B, _HLG_C = 0.17883277, 0.28466892, 0.55991073
"""Constants of the HLG curve. Source: ITU-R BT.2100-2, table 5."""
_HLG_PEAK_NITS, _HLG_GAMMA = 1000.0, 1.2
"""Display on which HLG is shown, and the gamma of its system. Source: ITU-R BT.2100-2, table 5."""
_LUMA_2020 = np.array([0.2627, 0.6780, 0.0593], np.float32)
"""Source: ITU-R BT.2020-2, table 4."""


def srgb_to_linear(srgb: Pixels) -> Pixels:
    """Turn display-referred sRGB into linear light, negatives mirrored, never clipped.

    Source:
        IEC 61966-2-1:1999, 5.2.
    """
    size = np.abs(srgb)
    curved = cv2.pow((size + np.float32(0.055)) / np.float32(1.055), 2.4).reshape(srgb.shape)
    return np.copysign(np.where(size <= 0.04045, size / np.float32(12.92), curved), srgb)


def linear_to_srgb(linear: Pixels) -> Pixels:
    """Turn linear light into display-referred sRGB; undoes `srgb_to_linear`.

    Source:
        IEC 61966-2-1:1999, 5.2.
    """
    size = np.abs(linear)
    curved = cv2.pow(size, 1 / 2.4).reshape(linear.shape) * np.float32(1.055) - np.float32(0.055)
    return np.copysign(np.where(size <= 0.0031308, size * np.float32(12.92), curved), linear)


def gamma_to_linear(codes: Pixels, gamma: float) -> Pixels:
    """Turn code values of a plain power curve into linear light."""
    return np.power(codes.clip(0), np.float32(gamma))


def pq_to_linear(codes: Pixels) -> Pixels:
    """Turn PQ code values into linear light, `SDR_WHITE_NITS` as 1."""
    root = cv2.pow(codes.clip(0, 1).astype(np.float32), 1 / _M2).reshape(codes.shape)
    base = np.maximum(root - np.float32(_C1), 0) / (np.float32(_C2) - np.float32(_C3) * root)
    light = cv2.pow(base, 1 / _M1).reshape(codes.shape)
    return np.asarray(light * np.float32(_PQ_PEAK_NITS / SDR_WHITE_NITS), np.float32)


def hlg_to_linear(codes_HWC: Pixels) -> Pixels:
    """Turn HLG code values of BT.2020 primaries into linear light of a display of 1000 nits."""
    codes = codes_HWC.clip(0, 1)
    dark = np.square(codes) / 3
    bright = (np.exp((codes - _HLG_C) / _HLG_A) + _HLG_B) / 12
    scene_HWC = np.where(codes <= 0.5, dark, bright).astype(np.float32)
    luma_HW1 = (scene_HWC @ _LUMA_2020)[..., None]
    shown_HWC = scene_HWC * np.power(luma_HW1.clip(1e-9), np.float32(_HLG_GAMMA - 1))
    return shown_HWC * np.float32(_HLG_PEAK_NITS / SDR_WHITE_NITS)
