"""Ways to layers that know nothing, to stand beside a model.

Shape letters: T frames, C channels, H, W. Pixels are straight sRGB and alpha in [0, 1].
"""

import torch
from torch import Tensor

from layert2v_model.stack import Layer, Role, Stack

TRUTH = "copy of ground truth"
EMPTY_MATTE = "full as background, empty matte"
MEDIAN_PLATE = "median plate, difference"
_FROM, _TO = 0.04, 0.16
"""Largest difference of a channel between which background difference rises from 0 to 1.

Source: chosen to favour the baseline on held-out scenes of the first weights, November 2026.
"""


def baselines_of(full_TCHW: Tensor, num_foregrounds: int = 1) -> dict[str, Stack]:
    """Take a full video apart without a model: by name, the stacks."""
    return {
        EMPTY_MATTE: empty_matte(full_TCHW, num_foregrounds),
        MEDIAN_PLATE: median_plate(full_TCHW, num_foregrounds),
    }


def empty_matte(full_TCHW: Tensor, num_foregrounds: int = 1) -> Stack:
    """Leave everything in the background."""
    nothing_T1HW = torch.zeros_like(full_TCHW[:, :1])
    return _stack(full_TCHW, full_TCHW, [nothing_T1HW] * num_foregrounds)


def median_plate(full_TCHW: Tensor, num_foregrounds: int = 1) -> Stack:
    """Take each pixel's median in time as the plate and what differs from it as the foreground.

    Foregrounds after the first stay empty: difference does not tell one from another.
    """
    plate_TCHW = full_TCHW.median(dim=0, keepdim=True).values.expand_as(full_TCHW).contiguous()
    difference_T1HW = (full_TCHW - plate_TCHW).abs().amax(dim=1, keepdim=True)
    alpha_T1HW = ((difference_T1HW - _FROM) / (_TO - _FROM)).clamp(0, 1)
    rest = [torch.zeros_like(alpha_T1HW)] * (num_foregrounds - 1)
    return _stack(full_TCHW, plate_TCHW, [alpha_T1HW, *rest])


def _stack(full_TCHW: Tensor, plate_TCHW: Tensor, alphas: list[Tensor]) -> Stack:
    plate = Layer(Role.BACKGROUND, plate_TCHW, torch.ones_like(plate_TCHW[:, :1]))
    foregrounds = [Layer(Role.FOREGROUND, full_TCHW, alpha_T1HW) for alpha_T1HW in alphas]
    return Stack((plate, *foregrounds), full_TCHW)
