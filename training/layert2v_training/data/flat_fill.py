"""Foregrounds drawn over one flat colour, as matting programs show them, made straight.

Shape letters: T frames, H, W, C channels. Colours are display-referred sRGB in [0, 1].
"""

import numpy as np

from layert2v_training.data.clips import Pixels

_CLEAR = 0.02
"""Alpha below which nothing of the subject is seen: 5 codes of an 8-bit H.264 matte."""
_LEAST_CLEAR = 0.01
"""Share of the pixels that must be clear for the fill to be known."""
_MOST_SPREAD = 0.05
"""Mean distance from the fill's median above which it is no fill but a picture."""


def straight_over_fill(colour_THWC: Pixels, alpha_THW: Pixels) -> Pixels:
    """Take the flat colour around a subject out of its edges: straight (T, H, W, 3).

    F = a C + (1 - a) K is solved for C. K is the median where alpha is 0. Colours around which
    there is a picture, or nothing, are straight already and come back as they are.

    Args:
        colour_THWC: The foreground clip, RGB.
        alpha_THW: Its matte.
    """
    around_NC = colour_THWC[alpha_THW < _CLEAR]
    if len(around_NC) < _LEAST_CLEAR * alpha_THW.size:
        return colour_THWC
    fill_C = np.median(around_NC, axis=0)
    if np.abs(around_NC - fill_C).mean() > _MOST_SPREAD:
        return colour_THWC
    alpha_THWC = alpha_THW[..., None]
    own_THWC = colour_THWC - (1 - alpha_THWC) * fill_C
    return np.clip(own_THWC / alpha_THWC.clip(_CLEAR), 0, 1).astype(np.float32)
