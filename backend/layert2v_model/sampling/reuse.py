"""Parts of a finished take that the next shot is given. No model is needed here.

    decompose a video           given={"full": video}
    a subject on a plate        given={"background": plate}
    a plate behind a subject    given={"foreground_1": rgb, "alpha_1": alpha}
    regenerate one layer        given=kept_layers(take, regenerated=[1])
    two takes as one            given=blended(first, last, layer=1, num_first=3, num_last=3)
    go on in time               given=opening(take, 3), then joined(take, next, 3)
    loop a layer                looped=["foreground_1"], an argument of the pipeline

Shape letters: T frames, C channels, H, W. Pixels are straight sRGB and alpha in [0, 1].
"""

from collections.abc import Collection

import torch
from torch import Tensor

from layert2v_model.sampling.given import Given
from layert2v_model.stack import Layer, Stack


def streams_of(take: Stack) -> dict[str, Tensor]:
    """Name all streams of a take: `full`, `background`, `foreground_1`, `alpha_1`, ..."""
    streams = {"full": take.full_TCHW, "background": take.background.rgb_TCHW}
    for number, layer in enumerate(take.foregrounds, start=1):
        streams |= {f"foreground_{number}": layer.rgb_TCHW, f"alpha_{number}": layer.alpha_T1HW}
    return streams


def kept_layers(take: Stack, regenerated: Collection[int]) -> dict[str, Tensor]:
    """Give all layers of a take but some, which are regenerated, and with them the full video.

    Args:
        take: Not modified.
        regenerated: Indices of layers; 0 is the background.

    Raises:
        ValueError: There is no such layer.
    """
    _check_layers(take, regenerated)
    streams = streams_of(take)
    names = {f"{word}_{index}" for index in regenerated for word in ("foreground", "alpha")}
    names |= {"full"} | ({"background"} if 0 in regenerated else set())
    return {name: frames for name, frames in streams.items() if name not in names}


def opening(take: Stack, num_frames: int) -> dict[str, Given]:
    """Give the last frames of every stream of a take as the first of the next shot.

    The next shot steers best by whole frames of tokens: for `tiny` a multiple of 3 frames.

    Raises:
        ValueError: The take has no such number of frames.
    """
    _check_count(take, num_frames)
    streams = streams_of(take)
    return {name: Given(frames_TCHW[-num_frames:]) for name, frames_TCHW in streams.items()}


def joined(take: Stack, continued: Stack, num_shared: int) -> Stack:
    """Put a take and its continuation, which begins with the take's last frames, into one.

    Args:
        take: The beginning.
        continued: Made with `opening(take, num_shared)`. Those frames are left out.
        num_shared: Frames that both show.

    Raises:
        ValueError: The takes have different numbers of layers, or do not share so many frames.
    """
    if len(take.layers) != len(continued.layers):
        raise ValueError(
            f"the takes have {len(take.layers)} and {len(continued.layers)} layers; "
            f"join takes with equally many"
        )
    _check_count(take, num_shared)
    _check_count(continued, num_shared)

    def whole(first: Tensor, second: Tensor) -> Tensor:
        return torch.cat([first, second[num_shared:]])

    layers = tuple(
        Layer(first.role, whole(first.rgb_TCHW, second.rgb_TCHW),
              whole(first.alpha_T1HW, second.alpha_T1HW))
        for first, second in zip(take.layers, continued.layers, strict=True)
    )  # fmt: skip
    return Stack(layers, whole(take.full_TCHW, continued.full_TCHW))


def blended(
    first: Stack, last: Stack, layer: int, num_first: int, num_last: int
) -> dict[str, tuple[Given, Given]]:
    """Give a foreground as one take has it at the beginning and as another has it at the end.

    What lies between is made. Give the background as well to have it stay the same throughout.

    Args:
        first: Its first frames are given.
        last: Its last frames are given.
        layer: Index of the foreground, from 1, in both.
        num_first: Frames, from 1.
        num_last: Frames, from 1; together fewer than the shot has.

    Raises:
        ValueError: A take has no such layer, or nothing is left between.
    """
    for take in (first, last):
        _check_layers(take, [layer], lowest=1)
    num_frames = len(last.full_TCHW)
    if min(num_first, num_last) < 1 or num_first + num_last >= num_frames:
        raise ValueError(
            f"{num_first} and {num_last} frames leave nothing to make of {num_frames}; "
            f"give fewer, at least 1 each"
        )
    beginning, end = streams_of(first), streams_of(last)
    return {
        name: (
            Given(beginning[name][:num_first]),
            Given(end[name][-num_last:], first_frame=num_frames - num_last),
        )
        for name in (f"foreground_{layer}", f"alpha_{layer}")
    }


def _check_layers(take: Stack, indices: Collection[int], lowest: int = 0) -> None:
    for index in indices:
        if not lowest <= index < len(take.layers):
            raise ValueError(f"there is no layer {index}; use {lowest} to {len(take.layers) - 1}")


def _check_count(take: Stack, num_frames: int) -> None:
    if not 1 <= num_frames <= len(take.full_TCHW):
        raise ValueError(
            f"{num_frames} frames cannot be shared by a take of {len(take.full_TCHW)}; "
            f"use 1 or more, at most all"
        )
