"""The only file where alpha changes its form: straight, premultiplied, over, flatten.

Shape letters: T frames, C channels (3 for RGB), H, W. Values are display-referred sRGB, the space
in which the training composites are made (`docs/design_model.md`). No function here changes the
space.
"""

from collections.abc import Sequence

import torch
from torch import Tensor

from layert2v_media.transfer import ALPHA_FLOOR


def premultiply(rgb_TCHW: Tensor, alpha_T1HW: Tensor) -> Tensor:
    """Scale straight RGB by its alpha."""
    return rgb_TCHW * alpha_T1HW


def unpremultiply(
    premultiplied_TCHW: Tensor, alpha_T1HW: Tensor, floor: float = ALPHA_FLOOR
) -> Tensor:
    """Divide premultiplied RGB by its alpha. Colour under `floor` becomes 0.

    Returns:
        Straight RGB of the same shape, not clipped.
    """
    visible = alpha_T1HW > floor
    return (premultiplied_TCHW / alpha_T1HW.clamp_min(floor)) * visible


def over(front_TCHW: Tensor, alpha_T1HW: Tensor, back_TCHW: Tensor) -> Tensor:
    """Composite a straight RGB front with its alpha over an opaque back.

    Source:
        Porter and Duff, "Compositing Digital Images", SIGGRAPH 1984: the over operator with an
        opaque background.
    """
    return front_TCHW * alpha_T1HW + back_TCHW * (1 - alpha_T1HW)


def flatten(
    background_TCHW: Tensor,
    foregrounds: Sequence[tuple[Tensor, Tensor]],
    *,
    is_premultiplied: bool = False,
) -> Tensor:
    """Composite foregrounds, back to front, over an opaque background.

    Args:
        background_TCHW: RGB; more dimensions may stand before C, in all tensors alike.
        foregrounds: RGB and alpha of each.
        is_premultiplied: Whether foregrounds are premultiplied instead of straight.

    Returns:
        The composite, (T, 3, H, W), in the space of the input, not clipped.
    """
    composite_TCHW = background_TCHW
    for rgb_TCHW, alpha_T1HW in foregrounds:
        if is_premultiplied:
            composite_TCHW = rgb_TCHW + composite_TCHW * (1 - alpha_T1HW)
        else:
            composite_TCHW = over(rgb_TCHW, alpha_T1HW, composite_TCHW)
    return composite_TCHW


def light_of(premultiplied_TCHW: Tensor, alpha_T1HW: Tensor) -> Tensor:
    """Sum the colour outside and inside mattes, for a foreground stored on black.

    Args:
        premultiplied_TCHW: (T, 3, H, W), premultiplied sRGB in [0, 1], as the model stored it.
        alpha_T1HW: (T, 1, H, W) in [0, 1].

    Returns:
        (T, 2) float64: sum of (1 - a) c, and of a c. Their ratio is the spill.
    """
    outside_TCHW = (1 - alpha_T1HW) * premultiplied_TCHW
    sums = [
        part.double().sum((1, 2, 3)) for part in (outside_TCHW, alpha_T1HW * premultiplied_TCHW)
    ]
    return torch.stack(sums, dim=1)
