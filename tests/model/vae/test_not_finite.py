from dataclasses import replace

import numpy as np
import pytest
import torch

from layert2v_model.errors import NotFinite
from layert2v_model.finishing.finish import finish
from layert2v_model.stack import Layer, Role, Stack
from layert2v_model.vae.not_finite import check_frame, check_stack, check_streams


def grey_stack() -> Stack:
    """Two frames of a background and one foreground."""
    rgb_TCHW, alpha_T1HW = torch.full((2, 3, 8, 8), 0.5), torch.full((2, 1, 8, 8), 0.5)
    background = Layer(Role.BACKGROUND, rgb_TCHW.clone(), torch.ones_like(alpha_T1HW))
    foreground = Layer(Role.FOREGROUND, rgb_TCHW.clone(), alpha_T1HW)
    return Stack((background, foreground), rgb_TCHW)


def spoilt(part: str, value: float) -> Stack:
    stack = grey_stack()
    background, foreground = stack.layers
    planes = {
        "full": stack.full_TCHW,
        "background": background.rgb_TCHW,
        "foreground": foreground.rgb_TCHW,
        "alpha": foreground.alpha_T1HW,
    }
    planes[part][1, 0, 3, 3] = value
    return replace(stack, layers=(background, foreground))


PARTS = [
    ("full", "frame 1 of the full video"),
    ("background", "frame 1 of the background"),
    ("foreground", "frame 1 of foreground_1"),
    ("alpha", "frame 1 of the alpha of foreground_1"),
]


@pytest.mark.parametrize("value", [float("nan"), float("inf"), float("-inf")])
@pytest.mark.parametrize(("part", "words"), PARTS)
def test_finishing_names_what_is_not_finite(part: str, words: str, value: float) -> None:
    with pytest.raises(NotFinite, match=words):
        finish(spoilt(part, value))


@pytest.mark.parametrize(("part", "words"), PARTS)
def test_a_stack_that_is_not_finite_is_refused(part: str, words: str) -> None:
    check_stack(grey_stack())
    with pytest.raises(NotFinite, match=words):
        check_stack(spoilt(part, float("nan")))


def test_all_broken_streams_are_named() -> None:
    good, bad = torch.zeros(3), torch.tensor([0, float("nan"), 1])

    check_streams({}, "denoising")
    check_streams({"full": good}, "denoising")
    with pytest.raises(NotFinite, match=r"denoising made .* in full, a and b: the model's weights"):
        check_streams({"full": bad, "background": good, "a": bad, "b": bad}, "denoising")


def test_a_frame_is_named() -> None:
    check_frame("foreground_1", 3, np.zeros(4))
    with pytest.raises(NotFinite, match="frame 3 of foreground_1"):
        check_frame("foreground_1", 3, np.array([np.inf]))
