from itertools import permutations

import pytest
import torch
from torch import Tensor

from layert2v_model.finishing.finish import finish
from layert2v_model.finishing.report import MOST_DB, measure
from layert2v_model.stack import Layer, Role, Stack

FRAMES = (2, 16, 16)


def _layer(role: Role, seed: int) -> Layer:
    frames, height, width = FRAMES
    generator = torch.Generator().manual_seed(seed)
    rgb = torch.rand(frames, 3, height, width, generator=generator)
    alpha = torch.rand(frames, 1, height, width, generator=generator)
    return Layer(role, rgb, torch.ones_like(alpha) if role is Role.BACKGROUND else alpha)


def _stack(num_foregrounds: int) -> Stack:
    layers = [_layer(Role.BACKGROUND, 0)]
    layers += [_layer(Role.FOREGROUND, k) for k in range(1, num_foregrounds + 1)]
    stack = Stack(tuple(layers), layers[0].rgb_TCHW)
    return Stack(stack.layers, stack.flatten())


def _over(background: Layer, foregrounds: list[Layer]) -> Tensor:
    """Composite pixel by pixel of the stack of layers, in float64, back to front."""
    composite = background.rgb_TCHW.double()
    for layer in foregrounds:
        alpha = layer.alpha_T1HW.double()
        composite = alpha * layer.rgb_TCHW.double() + (1 - alpha) * composite
    return composite


@pytest.mark.parametrize("order", list(permutations((1, 2, 3))))
def test_a_reordered_stack_flattens_as_its_layers_do_in_the_new_order(
    order: tuple[int, ...],
) -> None:
    stack = _stack(3)

    changed = stack.reordered(order)

    expected = _over(stack.background, [stack.layers[index] for index in order])
    torch.testing.assert_close(changed.flatten().double(), expected, atol=1e-6, rtol=0)
    torch.testing.assert_close(changed.full_TCHW.double(), expected, atol=1e-6, rtol=0)


@pytest.mark.parametrize("order", list(permutations((1, 2, 3))))
def test_reordering_back_gives_the_same_picture(
    order: tuple[int, ...],
) -> None:
    stack = _stack(3)
    back = [order.index(index) + 1 for index in (1, 2, 3)]

    again = stack.reordered(order).reordered(back)

    assert again.layers == stack.layers
    assert torch.equal(again.flatten(), stack.flatten())


def test_the_same_order_is_the_same_stack() -> None:
    stack = _stack(2)

    assert stack.reordered((1, 2)) is stack


def test_a_dropped_layer_is_gone_and_the_others_are_the_same_objects() -> None:
    stack = _stack(3)

    changed = stack.without(2)

    assert changed.layers == (stack.layers[0], stack.layers[1], stack.layers[3])
    expected = _over(stack.background, [stack.layers[1], stack.layers[3]])
    torch.testing.assert_close(changed.full_TCHW.double(), expected, atol=1e-6, rtol=0)


def test_the_report_of_a_changed_stack_is_that_of_its_own_picture() -> None:
    stack = _stack(3)

    for changed in (stack.reordered((3, 1, 2)), stack.without(1)):
        report = measure(changed, changed)
        assert 40 < report.recomposition_before <= MOST_DB
        assert report.matte_change == 0
        assert finish(changed).report.recomposition_after > 40


@pytest.mark.parametrize("order", [(1,), (1, 1), (0, 1), (1, 2, 3)])
def test_an_order_that_is_no_permutation_is_refused(order: tuple[int, ...]) -> None:
    with pytest.raises(ValueError, match="name each of them once"):
        _stack(2).reordered(order)


@pytest.mark.parametrize(("count", "index"), [(2, 0), (2, 3), (1, 1)])
def test_a_layer_that_cannot_be_dropped_is_refused(count: int, index: int) -> None:
    with pytest.raises(ValueError, match="cannot be dropped"):
        _stack(count).without(index)
