"""The foregrounds' share of finishing: colour beyond the edge, edges that explain the full video.

Shape letters: C channels, H, W; N counts pixels that were picked. Arrays are float32 numpy,
display-referred sRGB, RGB straight. Lengths are units of `fill.LINES`. Constants were chosen on
the ten published samples (336x192, `docs/finishing.md`) by matte change, outline ratio and by eye.
"""

from dataclasses import dataclass

import cv2
import numpy as np

from layert2v_model.finishing.fill import Floats, extend, ramp

MATTE = 0.5
"""Alpha at which the matte's contour is drawn (`docs/finishing.md`, outline ratio)."""
VISIBLE = 1 / 255
"""Alpha up to which 8 bits do not show a colour."""
GROWTH_FROM, GROWTH_TO = 2.0, 4.0
"""Distances to the matte between which alpha stops growing. At the latter it may still grow as
much as it must."""
_EXPLAINED_FROM, _EXPLAINED_TO = 2 / 255, 6 / 255
"""Differences from the full video below which a pixel stays, above which it is worked on."""
_DEAD_ZONE = 4 / 255
"""Alpha grows only to come this close: a rim of faint coloured specks costs more than it."""
_NOISE = 0.05
"""Colour distance of foreground and background below which their mix cannot be told."""
_PLATE_FROM, _PLATE_TO = 3.0, 4.5
"""Distances to the matte between which the plate begins to take small differences: nearer, they
are the subject's outline."""
_PLATE_LIMIT = 0.015
"""Largest difference the plate takes beside the matte: larger ones would draw the outline."""


@dataclass(frozen=True, eq=False)
class Edge:
    """Pixels that one foreground has to explain, with what is behind it and before it."""

    target_CN: Floats
    """The colours that this foreground over `behind_CN` should show, without the layers in
    front."""
    behind_CN: Floats
    """Composite of everything behind, as far as it is decided."""
    rgb_CN: Floats
    """Straight colour, corrected."""
    beyond_CN: Floats
    """Straight colour extended from the solid interior."""
    alpha_N: Floats
    """Alpha as generated."""
    mix_N: Floats
    """Share of the extended colour in the target (`mix`)."""
    distance_N: Floats
    """Distance to the matte."""
    has_plate_N: Floats
    """1 where a plate that may change is directly behind, else 0."""


def colour_beyond(rgb_CHW: Floats, alpha_HW: Floats, unit: float = 1.0) -> Floats:
    """Extend the colour of the solid interior smoothly over all other pixels.

    Where nothing in the picture is solid the covered pixels serve, in proportion to alpha.

    Args:
        rgb_CHW: Straight colour.
        alpha_HW: Its alpha.
        unit: Pixels per unit of length in the picture that this is part of.
    """
    radius = max(1, round(unit))
    square = np.ones((2 * radius + 1, 2 * radius + 1), np.uint8)
    solid_HW = ramp(alpha_HW, 0.9, 0.99)
    core_HW = np.asarray(cv2.erode(solid_HW, square), np.float32)
    for known_HW in (core_HW, solid_HW, alpha_HW):
        if known_HW.max() > MATTE:
            break
    extended_CHW = extend(rgb_CHW, known_HW, unit)
    return np.clip(extended_CHW, 0, 1, out=extended_CHW)


def straight_colour(rgb_CN: Floats, beyond_CN: Floats, alpha_N: Floats) -> Floats:
    """Mix own colour where alpha supports it with the extended colour where it does not.

    Glass and smoke keep theirs. Under a low alpha it is mostly fill colour or rounding noise.
    """
    return _over(rgb_CN, ramp(alpha_N, 0.1, 0.6), beyond_CN)


def visible_colour(rgb_CN: Floats, beyond_CN: Floats, alpha_N: Floats) -> Floats:
    """Mix own colour with the extended one where alpha is so low that 8 bits do not show it."""
    return _over(rgb_CN, ramp(alpha_N, VISIBLE, 3 * VISIBLE), beyond_CN)


def faint(alpha_HW: Floats) -> Floats:
    """Grade how far an alpha is too low to trust its straight colour, in [0, 1]."""
    return 1 - ramp(alpha_HW, 0.03, 0.1)


def noise(alpha_HW: Floats, distance_HW: Floats) -> Floats:
    """Grade how far an alpha is only the noise of an empty part of the matte, in [0, 1]."""
    noise_HW = ramp(distance_HW, GROWTH_FROM, GROWTH_TO)
    noise_HW *= 1 - ramp(alpha_HW, 3 * VISIBLE, 8 * VISIBLE)
    return noise_HW


def is_wrong(difference_CN: Floats) -> Floats:
    """Grade how far a difference from the full video is more than rounding, in [0, 1]."""
    return ramp(np.abs(difference_CN).max(axis=0), _EXPLAINED_FROM, _EXPLAINED_TO)


def mix(target_CHW: Floats, behind_CHW: Floats, beyond_CHW: Floats) -> Floats:
    """Share of the extended foreground colour in the target, from 0 to 1, slightly smoothed.

    Source:
        Chuang et al., "A Bayesian Approach to Digital Matting", CVPR 2001, equation 10: alpha by
        projection on the line between the two colours. Shares under .15 are noise on the samples.
    """
    line_CHW = beyond_CHW - behind_CHW
    along_HW = ((target_CHW - behind_CHW) * line_CHW).sum(axis=0)
    line_CHW *= line_CHW
    along_HW /= line_CHW.sum(axis=0) + np.float32(_NOISE**2)
    mix_HW = np.asarray(cv2.GaussianBlur(along_HW, (0, 0), 0.6), np.float32)
    return ((mix_HW - np.float32(0.15)) / np.float32(0.75)).clip(0, 1)


def explain(edge: Edge) -> tuple[Floats, Floats, Floats]:
    """Find alpha and colour with which the foreground over what is behind gives its target.

    Returns: Alpha (N,), straight colour (C, N), and the difference (C, N) that the plate should
    take, in the composite. Alpha is never below the edge's, and above it only near the matte.
    """
    growth_N = 1 - ramp(edge.distance_N, GROWTH_FROM, GROWTH_TO)
    as_is_CN = _over(edge.rgb_CN, edge.alpha_N, edge.behind_CN)
    worked_N = is_wrong(edge.target_CN - as_is_CN)
    alpha_N = np.maximum(edge.alpha_N, edge.mix_N * growth_N * worked_N)
    colour_CN = straight_colour(edge.rgb_CN, edge.beyond_CN, edge.alpha_N)
    left_CN = edge.target_CN - _over(colour_CN, alpha_N, edge.behind_CN)
    size_N = np.maximum(np.abs(left_CN).max(axis=0), np.float32(1e-6))
    share_N = np.minimum(_PLATE_LIMIT / size_N, 1) * (1 - alpha_N) ** 2 * worked_N
    share_N *= ramp(edge.distance_N, _PLATE_FROM, _PLATE_TO) * edge.has_plate_N
    plate_CN = left_CN * share_N
    behind_CN = (edge.behind_CN + plate_CN).clip(0, 1)
    needed_N = np.where(edge.distance_N <= GROWTH_TO, _needed_alpha(edge.target_CN, behind_CN), 0)
    alpha_N = np.maximum(alpha_N, np.float32(needed_N))
    solved_CN = solved_colour(edge.target_CN, behind_CN, alpha_N)
    return alpha_N, visible_colour(solved_CN, colour_CN, alpha_N), plate_CN


def solved_colour(target_CN: Floats, behind_CN: Floats, alpha_N: Floats) -> Floats:
    """Straight colour in [0, 1] that over `behind` gives the target; alpha at least 1/512."""
    colour_CN = target_CN - (1 - alpha_N) * behind_CN
    colour_CN /= np.maximum(alpha_N, np.float32(1 / 512))
    return np.clip(colour_CN, 0, 1, out=colour_CN)


def _over(rgb_CN: Floats, alpha_N: Floats, behind_CN: Floats) -> Floats:
    over_CN = rgb_CN - behind_CN
    over_CN *= alpha_N
    over_CN += behind_CN
    return over_CN


def _needed_alpha(target_CN: Floats, behind_CN: Floats) -> Floats:
    """Least alpha with which some colour in [0, 1] over `behind` comes near the target.

    Source:
        The bound of "colour to alpha": behind + alpha (colour - behind) with colour at 0 or 1.
    """
    move_CN = target_CN - behind_CN
    size_CN = np.maximum(np.abs(move_CN) - np.float32(_DEAD_ZONE), 0)
    room_CN = np.where(move_CN > 0, 1 - behind_CN, behind_CN)
    size_CN /= np.maximum(room_CN, np.float32(1e-4))
    return size_CN.max(axis=0).clip(0, 1)
