"""Small layered scenes with known truth: textured plate, soft discs that cross, exact composite."""

from dataclasses import replace

import cv2
import numpy as np
import torch
from torch import Tensor

from layert2v_model.stack import Layer, Role, Stack

COLOURS = ((0.85, 0.25, 0.2), (0.2, 0.7, 0.3), (0.25, 0.35, 0.9))


def make_scene(
    num_foregrounds: int = 1, num_frames: int = 3, height: int = 64, width: int = 96
) -> Stack:
    """Give a stack that flattens to its full video, with discs moving right over a plate."""
    layers = [_background(num_frames, height, width)]
    layers += [_disc(k, num_frames, height, width) for k in range(num_foregrounds)]
    stack = Stack(tuple(layers), layers[0].rgb_TCHW)
    return replace(stack, full_TCHW=stack.flatten())


def _background(num_frames: int, height: int, width: int) -> Layer:
    noise = np.random.default_rng(7).random((height, width, 3), dtype=np.float32)
    texture = cv2.GaussianBlur(noise, (0, 0), 1.5)
    ramp = np.linspace(0.3, 0.6, width, dtype=np.float32)[None, :, None]
    rgb_HWC = (ramp + (texture - 0.5)).clip(0.05, 0.8)
    rgb_TCHW = torch.from_numpy(rgb_HWC).permute(2, 0, 1).expand(num_frames, -1, -1, -1).clone()
    return Layer(Role.BACKGROUND, rgb_TCHW, torch.ones(num_frames, 1, height, width))


def _disc(k: int, num_frames: int, height: int, width: int) -> Layer:
    y, x = torch.meshgrid(torch.arange(height), torch.arange(width), indexing="ij")
    radius = height / 5
    frames = []
    for t in range(num_frames):
        centre = width * (0.35 + 0.15 * k) + t * width * 0.03, height * (0.4 + 0.12 * k)
        distance = torch.hypot(x - centre[0], y - centre[1])
        frames.append(((radius - distance) / 2 + 0.5).clamp(0, 1))
    alpha_T1HW = torch.stack(frames)[:, None].float()
    shade = 0.05 * torch.sin(x / 3.0)[None, None]
    colour = torch.tensor(COLOURS[k % 3])[None, :, None, None]
    rgb_TCHW = (colour + shade).expand(num_frames, 3, height, width).clone()
    return Layer(Role.FOREGROUND, rgb_TCHW, alpha_T1HW)


def with_layer(
    stack: Stack, index: int, rgb_TCHW: Tensor, alpha_T1HW: Tensor | None = None
) -> Stack:
    """Replace one layer's pixels of a stack, and keep its full video."""
    layers = list(stack.layers)
    alpha = layers[index].alpha_T1HW if alpha_T1HW is None else alpha_T1HW
    layers[index] = Layer(layers[index].role, rgb_TCHW, alpha)
    return replace(stack, layers=tuple(layers))


def faded(stack: Stack) -> Stack:
    """Give the stack a background like that of the published samples, brighter and flatter."""
    return with_layer(stack, 0, stack.background.rgb_TCHW * 0.8 + 0.18)


def veiled_around(stack: Stack) -> Stack:
    """Give the stack a background like that of published samples, without veil at the subject.

    The veil is at rest and grows over a fifth of the height.
    """
    height = stack.full_TCHW.shape[2]
    covered_HW = np.float32((stack.layers[1].alpha_T1HW[:, 0] > 0.02).any(dim=0).numpy())
    near_HW = cv2.GaussianBlur(covered_HW, (0, 0), height / 10)
    veil = torch.from_numpy(1 - np.clip(1.6 * near_HW, 0, 1))
    plate_TCHW = stack.background.rgb_TCHW
    return with_layer(stack, 0, plate_TCHW + veil * (faded(stack).background.rgb_TCHW - plate_TCHW))
