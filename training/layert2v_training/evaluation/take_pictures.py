"""Pictures of takes: a row for the page, a compact row for the sheet of a whole run.

Shape letters: T frames, C channels, H, W. Values are sRGB in [0, 1].
"""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from layert2v_model.stack import Stack

_CHECKER = 6
"""Pixels of a square of the checkerboard."""
_INSTANTS = (0.0, 0.5, 1.0)
"""Shares of the shot that a picture of the page shows, from top to bottom."""


def page_titles(num_foregrounds: int) -> list[str]:
    """Name the columns of `page_picture`."""
    numbers = range(1, num_foregrounds + 1)
    mattes = [f"matte {k}" for k in numbers]
    return ["full", "background", *(f"foreground {k}" for k in numbers), *mattes, "flattened"]


def page_picture(take: Stack) -> Image.Image:
    """Draw a take: a column per stream, a row per instant; foregrounds on a checkerboard."""
    last = len(take.full_TCHW) - 1
    rows = [torch.cat(_columns(take, round(share * last)), dim=2) for share in _INSTANTS]
    return _picture(torch.cat(rows, dim=1))


def _columns(take: Stack, t: int) -> list[Tensor]:
    plates = [_over_checkerboard(x.rgb_TCHW[t], x.alpha_T1HW[t]) for x in take.foregrounds]
    mattes = [layer.alpha_T1HW[t].expand(3, -1, -1) for layer in take.foregrounds]
    flattened = take.flatten()[t]
    return [take.full_TCHW[t], take.background.rgb_TCHW[t], *plates, *mattes, flattened]


def _over_checkerboard(rgb_CHW: Tensor, alpha_1HW: Tensor) -> Tensor:
    y, x = np.indices(tuple(alpha_1HW.shape[1:])) // _CHECKER
    checker = torch.from_numpy(np.where((x + y) % 2, 0.6, 0.4).astype(np.float32))
    return rgb_CHW * alpha_1HW + checker * (1 - alpha_1HW)


def sheet_row(take: Stack) -> Tensor:
    """Lay a take's pictures side by side: (3, H, W).

    Full at its first and last frame; background, foregrounds over grey and mattes in the middle.
    """
    middle = len(take.full_TCHW) // 2
    parts = [take.full_TCHW[0], take.full_TCHW[-1], take.background.rgb_TCHW[middle]]
    for layer in take.foregrounds:
        alpha_1HW = layer.alpha_T1HW[middle]
        over_grey_CHW = layer.rgb_TCHW[middle] * alpha_1HW + 0.5 * (1 - alpha_1HW)
        parts += [over_grey_CHW, alpha_1HW.expand(3, -1, -1)]
    return torch.cat(parts, dim=2)


def write_sheet(rows: Sequence[Tensor], path: Path) -> None:
    """Write rows (3, H, W) in two columns, each padded to the largest."""
    height, width = (max(row.shape[axis] for row in rows) for axis in (1, 2))
    padded = [
        torch.nn.functional.pad(row, (0, width - row.shape[2], 0, height - row.shape[1]))
        for row in rows
    ]
    padded += [torch.zeros(3, height, width)] * (len(padded) % 2)
    half = len(padded) // 2
    _picture(torch.cat([torch.cat(padded[:half], 1), torch.cat(padded[half:], 1)], 2)).save(path)


def _picture(pixels_CHW: Tensor) -> Image.Image:
    codes_HWC = (pixels_CHW.permute(1, 2, 0).clamp(0, 1) * 255).round().byte()
    return Image.fromarray(codes_HWC.cpu().numpy())
