"""The foregrounds' share of finishing: colour beyond the edge, edges that explain the full video.

Shape letters: T frames, H, W, C channels. Arrays are float32 numpy, display-referred sRGB, RGB
straight. Lengths are units of `fill.LINES`. Constants were chosen on the ten published samples
(336x192, `docs/finishing.md`) by matte change, outline ratio and by eye.
"""

from dataclasses import dataclass

import cv2
import numpy as np

from layert2v_model.fill import Floats, distance_to, extend, largest, pixels_per_unit, ramp, summed

MATTE = 0.5
"""Alpha at which the matte's contour is drawn (`docs/finishing.md`, outline ratio)."""
VISIBLE = 1 / 255
"""Alpha up to which 8 bits do not show a colour."""
GROWTH_FROM, GROWTH_TO = 2.0, 4.0
"""Distances to the matte between which alpha stops growing."""
_EXPLAINED_FROM, _EXPLAINED_TO = 2 / 255, 6 / 255
"""Differences from the full video below which a pixel stays, above which it is worked on."""
_DEAD_ZONE = 4 / 255
"""Alpha grows only to come this close: a rim of faint coloured specks costs more than it."""
_NOISE = 0.05
"""Colour distance of foreground and background below which their mix cannot be told."""
_PLATE_FROM, _PLATE_TO = 1.5, 3.0
"""Distances to the matte between which the plate begins to take small differences."""
_PLATE_LIMIT = 0.015
"""Largest difference the plate takes beside the matte: larger ones would draw the outline."""


@dataclass(frozen=True, eq=False)
class Edge:
    """One frame of the foreground that owns some pixels, and what is behind and before it."""

    target_HWC: Floats
    """What this foreground over `behind_HWC` should show: the full video less what is in front."""
    behind_HWC: Floats
    """Composite of everything behind, as far as it is decided."""
    rgb_HWC: Floats
    """Straight colour, corrected."""
    beyond_HWC: Floats
    """Straight colour extended from the solid interior."""
    alpha_HW: Floats
    """Alpha as generated."""
    has_plate_HW: Floats
    """1 where a plate that may change is directly behind, else 0."""


def colour_beyond(rgb_HWC: Floats, alpha_HW: Floats) -> Floats:
    """Extend the colour of the solid interior smoothly over all other pixels.

    Where nothing in the picture is solid the covered pixels serve, in proportion to alpha.
    """
    radius = max(1, round(pixels_per_unit(alpha_HW.shape[0])))
    square = np.ones((2 * radius + 1, 2 * radius + 1), np.uint8)
    solid_HW = ramp(alpha_HW, 0.9, 0.99)
    core_HW = cv2.erode(solid_HW, square)
    for known_HW in (core_HW, solid_HW, alpha_HW):
        if known_HW.max() > MATTE:
            break
    return extend(rgb_HWC, known_HW).clip(0, 1)


def straight_colour(rgb_HWC: Floats, beyond_HWC: Floats, alpha_HW: Floats) -> Floats:
    """Mix own colour where alpha supports it with the extended colour where it does not.

    Glass and smoke keep theirs; under a low alpha it is mostly fill colour or rounding noise.
    """
    own_HW1 = ramp(alpha_HW, 0.1, 0.6)[..., None]
    return own_HW1 * rgb_HWC + (1 - own_HW1) * beyond_HWC


def faint(alpha_HW: Floats) -> Floats:
    """How much an alpha is so low that its straight colour cannot be trusted, in [0, 1]."""
    return 1 - ramp(alpha_HW, 0.03, 0.1)


def noise(alpha_HW: Floats) -> Floats:
    """How much an alpha is only the noise of an empty part of the matte, in [0, 1]."""
    distance_HW = distance_to(alpha_HW > MATTE)
    return (1 - ramp(alpha_HW, 3 * VISIBLE, 8 * VISIBLE)) * ramp(
        distance_HW, GROWTH_FROM, GROWTH_TO
    )


def is_wrong(difference_HWC: Floats) -> Floats:
    """How much a difference from the full video is more than rounding, in [0, 1]."""
    return ramp(largest(np.abs(difference_HWC)), _EXPLAINED_FROM, _EXPLAINED_TO)


def explain(edge: Edge) -> tuple[Floats, Floats, Floats]:
    """Find alpha and colour with which the foreground over what is behind gives its target.

    Returns:
        Alpha (H, W), never below the edge's and above it only near the matte; straight
        colour; and the difference (H, W, C) that the plate should take, in the composite.
    """
    distance_HW = distance_to(edge.alpha_HW > MATTE)
    growth_HW = 1 - ramp(distance_HW, GROWTH_FROM, GROWTH_TO)
    as_is_HWC = _over(edge.rgb_HWC, edge.alpha_HW, edge.behind_HWC)
    worked_HW = is_wrong(edge.target_HWC - as_is_HWC)
    mix_HW = _mix(edge) * growth_HW * worked_HW
    alpha_HW = np.maximum(edge.alpha_HW, mix_HW)
    colour_HWC = straight_colour(edge.rgb_HWC, edge.beyond_HWC, edge.alpha_HW)
    left_HWC = edge.target_HWC - _over(colour_HWC, alpha_HW, edge.behind_HWC)
    size_HW = np.maximum(largest(np.abs(left_HWC)), np.float32(1e-6))
    share_HW = np.minimum(_PLATE_LIMIT / size_HW, 1) * (1 - alpha_HW) ** 2 * worked_HW
    share_HW *= ramp(distance_HW, _PLATE_FROM, _PLATE_TO) * edge.has_plate_HW
    plate_HWC = left_HWC * share_HW[..., None]
    behind_HWC = (edge.behind_HWC + plate_HWC).clip(0, 1)
    needed_HW = np.where(growth_HW > 0, _needed_alpha(edge.target_HWC, behind_HWC), 0)
    alpha_HW = np.maximum(alpha_HW, np.float32(needed_HW))
    return alpha_HW, _solved_colour(edge.target_HWC, behind_HWC, alpha_HW, colour_HWC), plate_HWC


def _over(rgb_HWC: Floats, alpha_HW: Floats, behind_HWC: Floats) -> Floats:
    return behind_HWC + alpha_HW[..., None] * (rgb_HWC - behind_HWC)


def _mix(edge: Edge) -> Floats:
    """Share of the extended foreground colour in the target, from 0 to 1, slightly smoothed.

    Source:
        Chuang et al., "A Bayesian Approach to Digital Matting", CVPR 2001, equation 10: alpha by
        projection on the line between the two colours. Shares under .15 are noise on the samples.
    """
    line_HWC = edge.beyond_HWC - edge.behind_HWC
    along_HW = summed((edge.target_HWC - edge.behind_HWC) * line_HWC)
    mix_HW = along_HW / (summed(line_HWC**2) + np.float32(_NOISE**2))
    mix_HW = cv2.GaussianBlur(mix_HW, (0, 0), 0.6)
    return ((mix_HW - np.float32(0.15)) / np.float32(0.75)).clip(0, 1)


def _needed_alpha(target_HWC: Floats, behind_HWC: Floats) -> Floats:
    """Least alpha with which some colour in [0, 1] over `behind` comes near the target.

    Source:
        The bound of "colour to alpha": behind + alpha (colour - behind) with colour at 0 or 1.
    """
    move_HWC = target_HWC - behind_HWC
    move_HWC = np.sign(move_HWC) * np.maximum(np.abs(move_HWC) - np.float32(_DEAD_ZONE), 0)
    room_HWC = np.where(move_HWC > 0, 1 - behind_HWC, behind_HWC)
    return largest(np.abs(move_HWC) / np.maximum(room_HWC, np.float32(1e-4))).clip(0, 1)


def visible_colour(rgb_HWC: Floats, beyond_HWC: Floats, alpha_HW: Floats) -> Floats:
    """Mix own colour with the extended one where alpha is so low that 8 bits do not show it."""
    visible_HW1 = ramp(alpha_HW, VISIBLE, 3 * VISIBLE)[..., None]
    return visible_HW1 * rgb_HWC + (1 - visible_HW1) * beyond_HWC


def _solved_colour(
    target_HWC: Floats, behind_HWC: Floats, alpha_HW: Floats, otherwise_HWC: Floats
) -> Floats:
    """Straight colour in [0, 1] that over `behind` gives the target; `otherwise` where clear."""
    alpha_HW1 = alpha_HW[..., None]
    colour_HWC = target_HWC - (1 - alpha_HW1) * behind_HWC
    colour_HWC = (colour_HWC / np.maximum(alpha_HW1, np.float32(1 / 512))).clip(0, 1)
    return visible_colour(colour_HWC, otherwise_HWC, alpha_HW)
