"""Finishing: a stack that flattens to its full video, with straight colour and clean plates.

What separates the full video from the composite is shared: the background takes it where it is
clearly uncovered, each foreground in its interior and edge, and what is hidden gets the visible
correction extended smoothly (`docs/finishing.md`).

Shape letters: T frames, C channels, H, W. Inside, frames are numpy (T, H, W, C), float32,
display-referred sRGB, RGB straight; k counts foregrounds from 0, back to front.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from layert2v_model.fill import Box, Floats, box_around, distance_to, extend, ramp
from layert2v_model.plate import correct_plate
from layert2v_model.report import FinishReport, measure
from layert2v_model.rim import (
    GROWTH_TO,
    MATTE,
    VISIBLE,
    Edge,
    colour_beyond,
    explain,
    faint,
    is_wrong,
    noise,
    visible_colour,
)
from layert2v_model.stack import Layer, Stack

_READABLE_FROM, _READABLE_TO = 0.9, 0.98
"""Visible weights between which a layer's colour begins to be read off the full video."""
_MARGIN = 3 * GROWTH_TO
"""Units around a foreground in which it is worked on: its colour is extended that far."""
_HIDDEN = 0.5
"""What is in front lets so much through; a foreground of which less is seen owns no pixel."""


@dataclass(frozen=True, eq=False)
class Finished:
    """A finished stack and what finishing it did."""

    stack: Stack
    """Same layers in the same order; kept ones are the same objects. `full_TCHW` is untouched."""
    report: FinishReport
    """Figures before and after."""


@dataclass(frozen=True, eq=False)
class _Shot:
    """The stack while it is worked on: own arrays, written in place."""

    full_THWC: Floats
    background_THWC: Floats
    colours: list[Floats]
    """Straight colour (T, H, W, 3) per foreground."""
    alphas: list[Floats]
    """Alpha (T, H, W) per foreground."""
    free: tuple[int, ...]
    """Foregrounds that may change."""
    is_plate_free: bool
    """Whether the background may change."""


def finish(stack: Stack, kept: frozenset[int] = frozenset()) -> Finished:
    """Give a stack straight colour and share out what separates it from its full video.

    Args:
        stack: Straight sRGB in [0, 1]; not modified.
        kept: Indices of layers that get no share (0 is the background): they come back as the
            same objects, and the others take what they can.

    Returns:
        The finished stack, float32 in [0, 1] on the device of the input, and its report.
        Deterministic.

    Raises:
        ValueError: `kept` names a layer that the stack does not have.
    """
    unknown = sorted(kept - set(range(len(stack.layers))))
    if unknown:
        raise ValueError(
            f"kept names layer {unknown[0]}; the last layer is {len(stack.layers) - 1}"
        )
    shot = _shot_of(stack, kept)
    for k in shot.free:
        _correct_colour(shot, k)
    if shot.is_plate_free:
        _correct_background(shot)
    for t in range(len(shot.full_THWC)):
        _finish_frame(shot, t)
    finished = _stack_of(shot, stack)
    return Finished(finished, measure(stack, finished))


def _shot_of(stack: Stack, kept: frozenset[int]) -> _Shot:
    alphas = [_frames(layer.alpha_T1HW)[..., 0] for layer in stack.foregrounds]
    free = tuple(k for k, alpha in enumerate(alphas) if k + 1 not in kept and alpha.any())
    return _Shot(
        full_THWC=_frames(stack.full_TCHW),
        background_THWC=_frames(stack.background.rgb_TCHW),
        colours=[_frames(layer.rgb_TCHW) for layer in stack.foregrounds],
        alphas=alphas,
        free=free,
        is_plate_free=0 not in kept,
    )


def _frames(pixels_TCHW: Tensor) -> Floats:
    """An own numpy copy as (T, H, W, C), clipped to [0, 1]."""
    pixels_THWC = pixels_TCHW.detach().float().cpu().permute(0, 2, 3, 1)
    frames_THWC = np.array(pixels_THWC.numpy(), dtype=np.float32, order="C")
    return np.clip(frames_THWC, 0, 1, out=frames_THWC)


def _stack_of(shot: _Shot, stack: Stack) -> Stack:
    """The stack with the free layers replaced by what the shot holds now."""
    layers = list(stack.layers)
    if shot.is_plate_free:
        layers[0] = replace(layers[0], rgb_TCHW=_tensor(shot.background_THWC, stack))
    for k in shot.free:
        rgb_TCHW = _tensor(shot.colours[k], stack)
        alpha_T1HW = _tensor(shot.alphas[k][..., None], stack)
        layers[k + 1] = Layer(layers[k + 1].role, rgb_TCHW, alpha_T1HW)
    return replace(stack, layers=tuple(layers))


def _tensor(pixels_THWC: Floats, stack: Stack) -> Tensor:
    pixels_TCHW = torch.from_numpy(pixels_THWC).permute(0, 3, 1, 2).contiguous()
    return pixels_TCHW.to(stack.full_TCHW.device)


def _correct_colour(shot: _Shot, k: int) -> None:
    """Correct a foreground where it is plainly seen; extend that over its edge and hidden parts.

    Where alpha is faint and the composite wrong, its colour is noise divided by almost nothing:
    the picture's own colour makes such a haze invisible, and far from the matte it is removed.
    """
    for t in range(len(shot.full_THWC)):
        box = box_around(shot.alphas[k][t] > VISIBLE, _MARGIN)
        if box is None:
            continue
        colours, alphas = _at(shot.colours, t, box), _at(shot.alphas, t, box)
        seen_HW = _clear(alphas[k + 1 :], like=alphas[k])
        weight_HW = alphas[k] * seen_HW
        known_HW = ramp(weight_HW, _READABLE_FROM, _READABLE_TO)
        composite_HWC = _composite(shot.background_THWC[t][box], colours, alphas)
        miss_HWC = shot.full_THWC[t][box] - composite_HWC
        wanted_HWC = miss_HWC / np.maximum(weight_HW, np.float32(_READABLE_FROM))[..., None]
        wrong_HW = seen_HW * is_wrong(miss_HWC)
        haze_HW = faint(alphas[k]) * wrong_HW
        colours[k] += extend(wanted_HWC, known_HW)
        colours[k] += haze_HW[..., None] * (shot.full_THWC[t][box] - colours[k])
        np.clip(colours[k], 0, 1, out=colours[k])
        alphas[k] -= alphas[k] * noise(alphas[k]) * wrong_HW


def _correct_background(shot: _Shot) -> None:
    target_THWC = shot.background_THWC.copy()
    coverage_THW = np.empty(target_THWC.shape[:3], np.float32)
    for t, background_HWC in enumerate(shot.background_THWC):
        alphas = _at(shot.alphas, t)
        clear_HW = _clear(alphas, like=alphas[0])
        miss_HWC = shot.full_THWC[t] - _composite(background_HWC, _at(shot.colours, t), alphas)
        target_THWC[t] += miss_HWC / np.maximum(clear_HW, np.float32(_READABLE_FROM))[..., None]
        coverage_THW[t] = 1 - clear_HW
    shot.background_THWC[:] = correct_plate(shot.background_THWC, target_THWC, coverage_THW)


def _finish_frame(shot: _Shot, t: int) -> None:
    """Let the foreground that owns a pixel explain it; what is left far away is the plate's."""
    found = {k: box_around(shot.alphas[k][t] > VISIBLE, _MARGIN) for k in shot.free}
    boxes = {k: box for k, box in found.items() if box is not None}
    beyond = {k: _extend_colour(shot, t, k, box) for k, box in boxes.items()}
    owner_HW, nearest_HW = _owners(shot.free, _at(shot.alphas, t))
    solved = {k: explain(_edge(shot, t, k, box, beyond[k])) for k, box in boxes.items()}
    for k, box in boxes.items():
        alpha_HW, rgb_HWC, plate_HWC = solved[k]
        is_own_HW = owner_HW[box] == k
        np.copyto(shot.alphas[k][t][box], alpha_HW, where=is_own_HW)
        np.copyto(shot.colours[k][t][box], rgb_HWC, where=is_own_HW[..., None])
        if shot.is_plate_free:
            shot.background_THWC[t][box] += is_own_HW[..., None] * plate_HWC
    if shot.is_plate_free:
        np.clip(shot.background_THWC[t], 0, 1, out=shot.background_THWC[t])
        _give_rest_to_background(shot, t, nearest_HW >= GROWTH_TO)


def _extend_colour(shot: _Shot, t: int, k: int, box: Box) -> Floats:
    """Extend a foreground's solid colour to the picture's borders; return it inside the box."""
    colour_HWC, alpha_HW = shot.colours[k][t], shot.alphas[k][t]
    beyond_HWC = colour_beyond(colour_HWC[box], alpha_HW[box])
    height, width = alpha_HW.shape
    rows, columns = box
    margins = (rows.start, height - rows.stop, columns.start, width - columns.stop)
    everywhere_HWC = cv2.copyMakeBorder(beyond_HWC, *margins, cv2.BORDER_REPLICATE)
    colour_HWC[:] = visible_colour(colour_HWC, everywhere_HWC, alpha_HW)
    return beyond_HWC


def _owners(free: Sequence[int], alphas: Sequence[Floats]) -> tuple[Floats, Floats]:
    """Which free foreground explains each pixel (-1 none), and the distance to any matte."""
    shape = alphas[0].shape
    owner_HW, best_HW = np.full(shape, -1, np.float32), np.full(shape, np.inf, np.float32)
    nearest_HW = np.full(shape, np.inf, np.float32)
    for k in range(len(alphas)):
        distance_HW = distance_to(alphas[k] > MATTE)
        nearest_HW = np.minimum(nearest_HW, distance_HW)
        if k not in free:
            continue
        seen_HW = _clear(alphas[k + 1 :], like=alphas[k])
        # The nearest matte, and among those that are equally near the one that is seen most.
        rank_HW = np.minimum(distance_HW, 2 * GROWTH_TO) - 2 * alphas[k] * seen_HW
        wins_HW = (rank_HW < best_HW) & (seen_HW > _HIDDEN)
        owner_HW[wins_HW], best_HW[wins_HW] = k, rank_HW[wins_HW]
    return owner_HW, nearest_HW


def _edge(shot: _Shot, t: int, k: int, box: Box, beyond_HWC: Floats) -> Edge:
    """What foreground k should show past those in front of it, and what it stands before."""
    colours, alphas = _at(shot.colours, t, box), _at(shot.alphas, t, box)
    seen_HW = _clear(alphas[k + 1 :], like=alphas[k])
    front_HWC = _composite(np.zeros_like(beyond_HWC), colours[k + 1 :], alphas[k + 1 :])
    target_HWC = shot.full_THWC[t][box] - front_HWC
    clear_HW = _clear(alphas[:k], like=alphas[k])
    return Edge(
        target_HWC=(target_HWC / np.maximum(seen_HW, np.float32(_HIDDEN))[..., None]).clip(0, 1),
        behind_HWC=_composite(shot.background_THWC[t][box], colours[:k], alphas[:k]),
        rgb_HWC=colours[k],
        beyond_HWC=beyond_HWC,
        alpha_HW=alphas[k],
        has_plate_HW=((clear_HW > _READABLE_TO) & shot.is_plate_free).astype(np.float32),
    )


def _give_rest_to_background(shot: _Shot, t: int, is_far_HW: NDArray[np.bool_]) -> None:
    """Far from every matte, where no alpha may grow, the background takes what it still can."""
    colours, alphas = _at(shot.colours, t), _at(shot.alphas, t)
    clear_HW = _clear(alphas, like=alphas[0])
    miss_HWC = shot.full_THWC[t] - _composite(shot.background_THWC[t], colours, alphas)
    share_HW = is_far_HW * (clear_HW > _HIDDEN) / np.maximum(clear_HW, np.float32(_HIDDEN))
    moved_HWC = shot.background_THWC[t] + miss_HWC * share_HW.astype(np.float32)[..., None]
    shot.background_THWC[t] = moved_HWC.clip(0, 1)


def _at(frames: Sequence[Floats], t: int, box: Box = (slice(None), slice(None))) -> list[Floats]:
    """Views of one frame of each, inside a box."""
    return [frames_T[t][box] for frames_T in frames]


def _composite(
    background_HWC: Floats, colours: Sequence[Floats], alphas: Sequence[Floats]
) -> Floats:
    """One frame of `alpha.flatten`, in numpy."""
    composite_HWC = background_HWC.copy()
    for rgb_HWC, alpha_HW in zip(colours, alphas, strict=True):
        step_HWC = rgb_HWC - composite_HWC  # in place: memory traffic is most of the time
        step_HWC *= alpha_HW[..., None]
        composite_HWC += step_HWC
    return composite_HWC


def _clear(alphas: Sequence[Floats], *, like: Floats) -> Floats:
    """Share of light that passes all of these alphas; ones where there are none."""
    clear_HW = np.ones_like(like)
    for alpha_HW in alphas:
        clear_HW = clear_HW * (1 - alpha_HW)
    return clear_HW
