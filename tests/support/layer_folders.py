"""Shots written as folders of PNG, in the form that `layert2v-finish` and evaluation read."""

from pathlib import Path

import numpy as np
import torch

from layert2v_model.files import media
from layert2v_model.stack import Stack


def write_stack(folder: Path, stack: Stack, *, premultiplied: bool = False) -> Path:
    """Write the layers: `foreground` and `matte`, numbered when there are several."""
    write_images(folder / "full", pixels_of(stack.full_TCHW))
    write_images(folder / "background", pixels_of(stack.background.rgb_TCHW))
    for number, layer in enumerate(stack.foregrounds, 1):
        suffix = f"_{number}" if len(stack.foregrounds) > 1 else ""
        rgb_TCHW = layer.rgb_TCHW * layer.alpha_T1HW if premultiplied else layer.rgb_TCHW
        write_images(folder / f"foreground{suffix}", pixels_of(rgb_TCHW))
        write_images(folder / f"matte{suffix}", pixels_of(layer.alpha_T1HW))
    return folder


def pixels_of(pixels_TCHW: torch.Tensor) -> media.Pixels:
    """Turn (T, C, H, W) into numpy (T, H, W, C)."""
    return np.ascontiguousarray(pixels_TCHW.permute(0, 2, 3, 1).numpy())


def write_images(folder: Path, frames: media.Pixels) -> None:
    """Write numbered PNG: mattes of one channel, pictures of three."""
    folder.mkdir(parents=True)
    for number, frame in enumerate(frames, 1):
        if frame.shape[2] == 1:
            media.write_matte_png(folder / f"{folder.name}_{number:04d}.png", frame[..., 0])
        else:
            media.write_png(folder / f"{folder.name}_{number:04d}.png", frame)
