"""Refusals of numbers that are not finite. NaN would pass as black, and infinity as white."""

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from layert2v_model.errors import NotFinite
from layert2v_model.stack import Stack

_OF_A_MODEL = (
    "the model's weights are damaged, or its precision is too small for them: install the model "
    "again, or run it in float32"
)


def check_streams(streams: Mapping[str, Tensor], made_by: str) -> None:
    """Refuse streams that are not finite. It waits for the device once.

    Args:
        streams: Streams by name.
        made_by: Step that made them, such as `denoising`.

    Raises:
        NotFinite: Names all such streams.
    """
    found = [torch.isfinite(stream).all() for stream in streams.values()]
    are_finite = torch.stack(found).tolist() if found else []
    broken = [name for name, is_finite in zip(streams, are_finite, strict=True) if not is_finite]
    if broken:
        raise NotFinite(
            f"{made_by} made numbers that are not finite in {_listed(broken)}: {_OF_A_MODEL}"
        )


def check_frame(name: str, frame: int, pixels: NDArray[Any]) -> None:
    """Refuse pixels that are not finite.

    Args:
        name: Name of the layer or stream, such as `foreground_1`.
        frame: Its number, from 0.
        pixels: Any shape.

    Raises:
        NotFinite: Some are not.
    """
    if not np.isfinite(pixels).all():
        raise NotFinite(
            f"frame {frame} of {name} holds numbers that are not finite: write that frame again, "
            f"or generate the layer again"
        )


def check_stack(stack: Stack) -> None:
    """Refuse a stack that holds NaN or infinity anywhere.

    Raises:
        NotFinite: Names the first frame of the first such layer.
    """
    planes = [("the full video", stack.full_TCHW)]
    for index, layer in enumerate(stack.layers):
        name = f"foreground_{index}" if index else "the background"
        planes += [(name, layer.rgb_TCHW), (f"the alpha of {name}", layer.alpha_T1HW)]
    for name, plane_TCHW in planes:
        for frame, pixels in enumerate(plane_TCHW):
            check_frame(name, frame, pixels.cpu().numpy())


def _listed(names: list[str]) -> str:
    return names[0] if len(names) == 1 else f"{', '.join(names[:-1])} and {names[-1]}"
