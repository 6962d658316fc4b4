"""The corrections that finishing makes in one frame: colours, the plate, and edges.

Shape letters: C channels, H, W, N picked pixels; k counts foregrounds from 0, back to front.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from layert2v_model.finishing.edge import (
    GROWTH_TO,
    MATTE,
    VISIBLE,
    Edge,
    colour_beyond,
    explain,
    faint,
    is_wrong,
    mix,
    noise,
    solved_colour,
    visible_colour,
)
from layert2v_model.finishing.fill import (
    Box,
    Floats,
    box_around,
    distance_to,
    extend,
    pixels_per_unit,
    ramp,
)
from layert2v_model.finishing.frames import at, clear, composite, each_frame
from layert2v_model.finishing.plate import COVERED, correct_plate

_READABLE_FROM, _READABLE_TO = 0.9, 0.98
"""Visible weights between which a layer's colour begins to be read off the full video."""
_MARGIN = GROWTH_TO + 2
"""Units around a foreground in which it is worked on: farther away only the plate changes."""
_REACH = 2 * GROWTH_TO
"""Units up to which the distance to a matte matters."""
_SOLID = 0.995
"""Alpha that does not grow: the pixel is explained by colour alone."""
_HIDDEN = 0.5
"""The share of light that layers in front let through. A less visible foreground owns no pixel."""


@dataclass(frozen=True, eq=False)
class WorkedStack:
    """The stack while it is worked on: own arrays, written in place."""

    full_TCHW: Floats
    background_TCHW: Floats
    colours: list[Floats]
    """Straight colour (T, 3, H, W) per foreground."""
    alphas: list[Floats]
    """Alpha (T, H, W) per foreground."""
    distances: list[Floats]
    """Distance (T, H, W) to the matte per foreground, in units, at most `_REACH`."""
    free: tuple[int, ...]
    """Foregrounds that may change; in the end those of them that show anything."""
    is_plate_free: bool
    """Whether the background may change."""


def _unit(shot: WorkedStack) -> float:
    return pixels_per_unit(shot.full_TCHW.shape[2])


def _box(alpha_HW: Floats) -> Box | None:
    """Find the box in which a foreground is corrected. Noise in empty parts does not count."""
    return box_around(alpha_HW > COVERED, _MARGIN)


def correct_colours(shot: WorkedStack, t: int) -> None:
    """Remove the noise of empty mattes. Correct foregrounds where they are plainly seen."""
    alphas = at(shot.alphas, t)
    for k, alpha_HW in enumerate(alphas):
        shot.distances[k][t] = distance_to(alpha_HW > MATTE, _REACH)
    composite_CHW = composite(shot.background_TCHW[t], at(shot.colours, t), alphas)
    wrong_HW = is_wrong(shot.full_TCHW[t] - composite_CHW)
    for k in shot.free:
        box = _box(alphas[k])
        if box is not None:
            _correct_colour(shot, t, k, box)
        haze_HW = noise(alphas[k], shot.distances[k][t]) * wrong_HW
        haze_HW *= clear(alphas[k + 1 :], alphas[k])
        alphas[k] *= 1 - haze_HW


def _correct_colour(shot: WorkedStack, t: int, k: int, box: Box) -> None:
    """Correct a foreground where it is plainly seen; extend that over its edge and hidden parts.

    Where alpha is faint and the composite wrong, its colour is noise divided by almost nothing:
    the picture's own colour makes such a haze invisible.
    """
    colours, alphas = at(shot.colours, t, box), at(shot.alphas, t, box)
    full_CHW = shot.full_TCHW[t][:, *box]
    seen_HW = clear(alphas[k + 1 :], alphas[k])
    weight_HW = alphas[k] * seen_HW
    known_HW = ramp(weight_HW, _READABLE_FROM, _READABLE_TO)
    miss_CHW = full_CHW - composite(shot.background_TCHW[t][:, *box], colours, alphas)
    haze_HW = faint(alphas[k]) * seen_HW * is_wrong(miss_CHW)
    miss_CHW /= np.maximum(weight_HW, np.float32(_READABLE_FROM))
    corrected_CHW = extend(miss_CHW, known_HW, _unit(shot))
    corrected_CHW += colours[k]
    corrected_CHW += haze_HW * (full_CHW - corrected_CHW)
    np.clip(corrected_CHW, 0, 1, out=colours[k])


def correct_background(shot: WorkedStack, num_threads: int | None) -> None:
    """Correct the plate where it differs from the full video. It needs all frames."""
    difference_TCHW = np.empty_like(shot.background_TCHW)
    coverage_THW = np.empty_like(shot.alphas[0])

    def compare(t: int) -> None:
        alphas = at(shot.alphas, t)
        clear_HW = clear(alphas, alphas[0])
        composite_CHW = composite(shot.background_TCHW[t], at(shot.colours, t), alphas)
        np.subtract(shot.full_TCHW[t], composite_CHW, out=difference_TCHW[t])
        difference_TCHW[t] /= np.maximum(clear_HW, np.float32(_READABLE_FROM))
        np.subtract(1, clear_HW, out=coverage_THW[t])

    each_frame(compare, len(coverage_THW), num_threads)
    correct_plate(shot.background_TCHW, difference_TCHW, coverage_THW, num_threads)


def finish_frame(shot: WorkedStack, t: int) -> None:
    """Let the foreground that owns a pixel explain it. Far away, the plate takes the rest."""
    found = {k: _box(shot.alphas[k][t]) for k in shot.free}
    boxes = {k: box for k, box in found.items() if box is not None}
    beyond = {k: _extend_colour(shot, t, k, box) for k, box in boxes.items()}
    owner_HW, nearest_HW = _owners(shot, t)
    for k, box in boxes.items():
        _explain(shot, t, k, box, beyond[k], owner_HW[box] == k)
    if shot.is_plate_free:
        _give_rest_to_background(shot, t, nearest_HW > GROWTH_TO)


def _extend_colour(shot: WorkedStack, t: int, k: int, box: Box) -> Floats:
    """Extend a foreground's solid colour to the picture's borders. Return it inside the box."""
    colour_CHW, alpha_HW = shot.colours[k][t], shot.alphas[k][t]
    beyond_CHW = colour_beyond(colour_CHW[:, *box], alpha_HW[box], _unit(shot))
    margins = [(x.start, size - x.stop) for x, size in zip(box, alpha_HW.shape, strict=True)]
    everywhere_CHW = np.pad(beyond_CHW, [(0, 0), *margins], mode="edge")
    colour_CHW[:] = visible_colour(colour_CHW, everywhere_CHW, alpha_HW)
    return beyond_CHW


def _owners(shot: WorkedStack, t: int) -> tuple[NDArray[np.int8], Floats]:
    """Find which free foreground explains each pixel (-1: none), and the distance to any matte."""
    alphas, distances = at(shot.alphas, t), at(shot.distances, t)
    owner_HW = np.full(alphas[0].shape, -1, np.int8)
    best_HW = np.full(alphas[0].shape, np.inf, np.float32)
    for k in shot.free:
        seen_HW = clear(alphas[k + 1 :], alphas[k])
        # The nearest matte wins. Among equally near mattes, the most visible wins.
        rank_HW = distances[k] - 2 * alphas[k] * seen_HW
        wins_HW = (rank_HW < best_HW) & (seen_HW > _HIDDEN)
        owner_HW[wins_HW] = k
        np.copyto(best_HW, rank_HW, where=wins_HW)
    return owner_HW, np.minimum.reduce(distances)


def _explain(
    shot: WorkedStack, t: int, k: int, box: Box, beyond_CHW: Floats, is_own_HW: NDArray[np.bool_]
) -> None:
    """Let foreground k explain its pixels in the box, its edge by all means, the rest by colour.

    Picking the few pixels of the edge saves most of the time.
    """
    colours, alphas = at(shot.colours, t, box), at(shot.alphas, t, box)
    alpha_HW, background_CHW = alphas[k], shot.background_TCHW[t][:, *box]
    target_CHW = _target(shot, t, k, box)
    behind_CHW = composite(background_CHW, colours[:k], alphas[:k])
    mix_HW = mix(target_CHW, behind_CHW, beyond_CHW)
    has_plate_HW = (clear(alphas[:k], alpha_HW) > _READABLE_TO) & shot.is_plate_free
    solid_CHW = solved_colour(target_CHW, behind_CHW, alpha_HW)
    np.copyto(colours[k], solid_CHW, where=is_own_HW & (alpha_HW > _SOLID))
    distance_HW = shot.distances[k][t][box]
    has_edge_HW = (alpha_HW <= _SOLID) & ((distance_HW <= GROWTH_TO) | (alpha_HW > VISIBLE))
    index_N = np.flatnonzero(is_own_HW & has_edge_HW)
    edge = Edge(
        target_CN=_picked(target_CHW, index_N),
        behind_CN=_picked(behind_CHW, index_N),
        rgb_CN=_picked(colours[k], index_N),
        beyond_CN=_picked(beyond_CHW, index_N),
        alpha_N=_picked(alpha_HW, index_N),
        mix_N=_picked(mix_HW, index_N),
        distance_N=_picked(distance_HW, index_N),
        has_plate_N=_picked(has_plate_HW.astype(np.float32), index_N),
    )
    rows_N, columns_N = np.divmod(index_N, alpha_HW.shape[1])
    alpha_N, rgb_CN, plate_CN = explain(edge)
    alpha_HW[rows_N, columns_N] = alpha_N
    colours[k][:, rows_N, columns_N] = rgb_CN
    if shot.is_plate_free:
        background_CHW[:, rows_N, columns_N] += plate_CN


def _picked(values: Floats, index_N: NDArray[np.intp]) -> Floats:
    """The pixels of (H, W) or (C, H, W) with these flat numbers."""
    return values.reshape(*values.shape[:-2], -1).take(index_N, axis=-1)


def _target(shot: WorkedStack, t: int, k: int, box: Box) -> Floats:
    """Compute the target of foreground k: the full video without the layers in front."""
    full_CHW = shot.full_TCHW[t][:, *box]
    colours, alphas = at(shot.colours, t, box)[k + 1 :], at(shot.alphas, t, box)[k + 1 :]
    if not alphas:
        return full_CHW
    target_CHW = full_CHW - composite(np.zeros_like(full_CHW), colours, alphas)
    target_CHW /= np.maximum(clear(alphas, alphas[0]), np.float32(_HIDDEN))
    return np.clip(target_CHW, 0, 1, out=target_CHW)


def _give_rest_to_background(shot: WorkedStack, t: int, is_far_HW: NDArray[np.bool_]) -> None:
    """Far from every matte, where no alpha may grow, the background takes what it still can."""
    alphas, background_CHW = at(shot.alphas, t), shot.background_TCHW[t]
    np.clip(background_CHW, 0, 1, out=background_CHW)
    clear_HW = clear(alphas, alphas[0])
    miss_CHW = shot.full_TCHW[t] - composite(background_CHW, at(shot.colours, t), alphas)
    miss_CHW *= is_far_HW * (clear_HW > _HIDDEN) / np.maximum(clear_HW, np.float32(_HIDDEN))
    background_CHW += miss_CHW
    np.clip(background_CHW, 0, 1, out=background_CHW)
