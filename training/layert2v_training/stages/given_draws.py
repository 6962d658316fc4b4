"""Draws of the parts of a clip that training gives: layers, ranges of frames, rectangles.

Shape letters: S streams, F frames of tokens, H, W. All draws use PyTorch's generator.
"""

import torch
from torch import Tensor

from layert2v_model.streams import Stream, StreamRole


def draw_layers(layout: tuple[Stream, ...]) -> Tensor:
    """Choose layers, at least one: booleans for the full video, background, foreground 1, ..."""
    while True:
        layers = torch.rand(len(layout) // 2 + 1) < 0.5
        if layers.any():
            return layers


def streams_of_layers(layers: Tensor, layout: tuple[Stream, ...]) -> Tensor:
    """Say which streams belong to the chosen layers: booleans (S,); alphas to their foreground."""
    number = [0 if s.role is StreamRole.FULL else 1 + s.foreground for s in layout]
    return layers[torch.tensor(number)]


def draw_range(num_frames: int) -> Tensor:
    """Choose frames, some and not all: booleans (F,), from 2 frames on.

    The beginning, the end, both ends and any range are equally frequent. They stand for going on
    from a take, leading up to it, filling a gap, and other uses.
    """
    length = int(torch.randint(1, num_frames, ()))
    anywhere = int(torch.randint(num_frames - length + 1, ()))
    kind = int(torch.randint(4, ()))
    first = (0, num_frames - length, anywhere, anywhere)[kind]
    frames_F = torch.arange(num_frames)
    inside_F = (frames_F >= first) & (frames_F < first + length)
    return inside_F if kind < 3 else ~inside_F


def draw_region(height: int, width: int) -> Tensor:
    """Choose a rectangle, or all around it: booleans (H, W), some false; from 2 latents on."""
    while True:
        rows, columns = _interval(height), _interval(width)
        region_HW = rows[:, None] & columns
        if not region_HW.all():
            break
    return region_HW if float(torch.rand(())) < 0.5 else ~region_HW


def _interval(size: int) -> Tensor:
    """Choose neighbours among `size`: booleans, at least one true."""
    first, last = sorted(torch.randint(size, (2,)).tolist())
    places = torch.arange(size)
    return (places >= first) & (places <= last)
