"""Frames as planar numpy arrays, and the same work on all of them.

Shape letters: T frames, C channels, H, W. Arrays are float32 and keep the layout of the tensors,
(T, C, H, W). An alpha (H, W) then broadcasts along whole rows. Numpy does so three times faster
than along the last axis of interleaved RGB.
"""

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

import numpy as np
import torch
from torch import Tensor

from layert2v_model.finishing.fill import Box, Floats

Result = TypeVar("Result")
WHOLE: Box = (slice(None), slice(None))
"""The whole picture, as rows and columns."""


def frames_of(pixels_TCHW: Tensor) -> Floats:
    """The tensor as numpy (T, C, H, W): a view where it is float32 on the CPU, else a copy."""
    return np.asarray(pixels_TCHW.detach().float().cpu().numpy(), np.float32)


def each_frame(
    work: Callable[[int], Result], num_frames: int, num_threads: int | None = None
) -> list[Result]:
    """Do the work for every frame number, on several threads, and return the results in order.

    Args:
        work: May write only to what belongs to its frame, so that the result does not depend on
            the number of threads. numpy and OpenCV let other threads run meanwhile.
        num_frames: Frames are numbered from 0.
        num_threads: Default: as many as torch uses.
    """
    count = min(num_threads or torch.get_num_threads(), num_frames)
    if count <= 1:
        return [work(t) for t in range(num_frames)]
    with ThreadPoolExecutor(count, thread_name_prefix="finish") as pool:
        return list(pool.map(work, range(num_frames)))


def at(frames: Sequence[Floats], t: int, box: Box = WHOLE) -> list[Floats]:
    """Views of one frame of each, inside a box: of (T, C, H, W) and of (T, H, W)."""
    return [frames_T[t][..., box[0], box[1]] for frames_T in frames]


def composite(
    background_CHW: Floats, colours: Sequence[Floats], alphas: Sequence[Floats]
) -> Floats:
    """One frame of `alpha.flatten`, in numpy; the background itself where nothing is before it.

    Args:
        background_CHW: Opaque, (3, H, W).
        colours: Straight colour (3, H, W) per foreground, back to front.
        alphas: Alpha (H, W) per foreground.
    """
    composite_CHW = background_CHW
    for rgb_CHW, alpha_HW in zip(colours, alphas, strict=True):
        step_CHW = rgb_CHW - composite_CHW
        step_CHW *= alpha_HW
        step_CHW += composite_CHW
        composite_CHW = step_CHW
    return composite_CHW


def clear(alphas: Sequence[Floats], like: Floats) -> Floats:
    """Share of light that passes all of these alphas; ones, of the shape of `like`, if none."""
    clear_HW = np.ones_like(like)
    for alpha_HW in alphas:
        clear_HW *= 1 - alpha_HW
    return clear_HW
