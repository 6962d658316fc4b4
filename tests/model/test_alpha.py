"""The algebra of layers: straight, premultiplied, over."""

import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from layert2v_model.alpha import (
    ALPHA_FLOOR,
    flatten,
    light_of,
    over,
    premultiply,
    unpremultiply,
)

COUNTS = st.integers(1, 4)
SEEDS = st.integers(0, 2**31)


def layers_of(seed: int, num_foregrounds: int) -> tuple[Tensor, list[tuple[Tensor, Tensor]]]:
    draw = torch.Generator().manual_seed(seed)
    rgb = torch.rand(num_foregrounds + 1, 2, 3, 4, 5, generator=draw, dtype=torch.float64)
    alpha = torch.rand(num_foregrounds, 2, 1, 4, 5, generator=draw, dtype=torch.float64)
    return rgb[0], list(zip(rgb[1:], alpha, strict=True))


@given(SEEDS)
def test_straight_colour_comes_back_wherever_there_is_alpha(seed: int) -> None:
    _, [(rgb, alpha)] = layers_of(seed, 1)
    alpha = alpha.clamp_min(2 * ALPHA_FLOOR)

    torch.testing.assert_close(unpremultiply(premultiply(rgb, alpha), alpha), rgb)


def test_colour_without_alpha_becomes_black() -> None:
    rgb, alpha = torch.full((1, 3, 1, 2), 0.5), torch.tensor([[[[0.0, ALPHA_FLOOR]]]])

    assert unpremultiply(rgb, alpha).count_nonzero() == 0


@given(SEEDS, COUNTS)
def test_a_stack_flattens_equally_from_straight_and_premultiplied_layers(
    seed: int, num_foregrounds: int
) -> None:
    background, foregrounds = layers_of(seed, num_foregrounds)
    premultiplied = [(premultiply(rgb, alpha), alpha) for rgb, alpha in foregrounds]

    torch.testing.assert_close(
        flatten(background, premultiplied, is_premultiplied=True),
        flatten(background, foregrounds),
    )


def test_an_opaque_front_hides_the_back_and_a_clear_one_shows_it() -> None:
    front, back = torch.full((1, 3, 1, 2), 0.25), torch.full((1, 3, 1, 2), 0.75)

    shown = over(front, torch.tensor([[[[1.0, 0.0]]]]), back)

    assert shown[0, :, 0].tolist() == [[0.25, 0.75]] * 3


def test_light_is_summed_outside_and_inside_the_matte_for_each_frame() -> None:
    premultiplied = torch.tensor([0.2, 0.4]).reshape(2, 1, 1, 1).expand(2, 3, 1, 1)
    alpha = torch.tensor([0.5, 1.0]).reshape(2, 1, 1, 1)

    light = light_of(premultiplied, alpha)

    assert light.dtype == torch.float64
    torch.testing.assert_close(light, torch.tensor([[0.3, 0.3], [0.0, 1.2]], dtype=torch.float64))
