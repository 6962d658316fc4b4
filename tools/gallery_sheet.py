"""The gallery's pictures: a row per stream, a column per instant, pixels enlarged unchanged.

Shape letters: T frames, C channels (1 a matte, 3 RGB, 4 straight RGBA), H, W. Values are sRGB in
[0, 1].
"""

from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image, ImageDraw
from torch import Tensor

from layert2v_model.stack import Layer, Stack

COLUMNS = 5
SCALE = 2
GAP, LABEL_HEIGHT = 4, 16
CHECKER = 6
"""Pixels of a square of the checkerboard, before scaling."""

Row = tuple[str, Tensor]
"""A label and frames (T, C, H, W)."""


def rows_of(stack: Stack, given: Sequence[str] = (), *, has_full: bool = True) -> list[Row]:
    """List a stack's streams, with `given` ones marked. Foregrounds lie over a checkerboard."""

    def label(name: str) -> str:
        return f"{name} (given)" if name in given else name

    rows = [(label("full"), stack.full_TCHW)] if has_full else []
    rows.append((label("background"), stack.background.rgb_TCHW))
    for number, layer in enumerate(stack.foregrounds, start=1):
        rows.append((label(f"foreground_{number}"), rgba(layer)))
        rows.append((label(f"alpha_{number}"), layer.alpha_T1HW))
    return rows


def rgba(layer: Layer) -> Tensor:
    """Join a layer's colour and alpha."""
    return torch.cat([layer.rgb_TCHW, layer.alpha_T1HW], dim=1)


def draw_sheet(rows: Sequence[Row]) -> Image.Image:
    """Draw rows at up to `COLUMNS` evenly spaced instants."""
    height, width = (SCALE * side for side in rows[0][1].shape[2:])
    row_height = height + LABEL_HEIGHT + GAP
    sheet = Image.new("RGB", ((width + GAP) * COLUMNS + GAP, row_height * len(rows)), (28, 28, 28))
    pen = ImageDraw.Draw(sheet)
    for number, (label, frames_TCHW) in enumerate(rows):
        y = number * row_height
        pen.text((GAP, y + 2), label, fill=(235, 235, 235))
        instants = np.linspace(0, len(frames_TCHW) - 1, COLUMNS).round().astype(int)
        for column, t in enumerate(instants):
            cell = Image.fromarray(_cell(frames_TCHW[int(t)]))
            cell = cell.resize((width, height), Image.Resampling.NEAREST)
            sheet.paste(cell, (GAP + column * (width + GAP), y + LABEL_HEIGHT))
    return sheet


def _cell(frame_CHW: Tensor) -> NDArray[np.uint8]:
    frame_HWC = frame_CHW.permute(1, 2, 0).clamp(0, 1).numpy()
    if frame_HWC.shape[2] == 4:
        alpha_HW1 = frame_HWC[..., 3:]
        frame_HWC = frame_HWC[..., :3] * alpha_HW1 + _checkerboard(frame_HWC) * (1 - alpha_HW1)
    coded = (frame_HWC * 255).round().astype(np.uint8)
    return np.repeat(coded, 3, axis=2) if coded.shape[2] == 1 else coded


def _checkerboard(like_HWC: NDArray[np.float32]) -> NDArray[np.float32]:
    y, x = np.indices(like_HWC.shape[:2]) // CHECKER
    return np.where((x + y) % 2, 0.6, 0.4).astype(np.float32)[..., None]
