import json
import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from layert2v_model.alpha import light_of, premultiply
from layert2v_model.finishing.fill import distance_to, extend, pixels_per_unit
from layert2v_model.finishing.finish import Finished, Finishing, finish
from layert2v_model.finishing.report import ghost_slope, outline_ratio, psnr
from layert2v_model.stack import Layer, Role, Stack
from support.layered_scenes import faded, make_scene, with_layer

CODE_VALUE = 1 / 255


def _numpy(pixels_TCHW: Tensor) -> np.ndarray:
    return pixels_TCHW.numpy()


def _matte(stack: Stack, index: int = 1) -> np.ndarray:
    return stack.layers[index].alpha_T1HW[:, 0].numpy()


def _tight(stack: Stack) -> Stack:
    """The matte one and a half pixels too tight."""
    alpha = 1 - torch.nn.functional.max_pool2d(1 - stack.layers[1].alpha_T1HW, 3, 1, 1)
    return with_layer(stack, 1, stack.layers[1].rgb_TCHW, alpha)


def _grown_far(before: Stack, after: Stack) -> int:
    """Pixels whose alpha changed by more than .1 farther than 4 units from the matte."""
    count = 0
    for old_HW, new_HW in zip(_matte(before), _matte(after), strict=True):
        far_HW = distance_to(old_HW > 0.5) > 4
        count += int((far_HW & (np.abs(new_HW - old_HW) > 0.1)).sum())
    return count


@pytest.mark.parametrize("num_foregrounds", [1, 2, 3])
def test_a_perfect_stack_stays(num_foregrounds: int) -> None:
    stack = make_scene(num_foregrounds)

    finished = finish(stack).stack

    for before, after in zip(stack.layers, finished.layers, strict=True):
        seen = premultiply(after.rgb_TCHW, after.alpha_T1HW)
        was = premultiply(before.rgb_TCHW, before.alpha_T1HW)
        assert (seen - was).abs().max() <= CODE_VALUE
        assert (after.alpha_T1HW - before.alpha_T1HW).abs().max() <= CODE_VALUE


@pytest.mark.parametrize("num_foregrounds", [1, 2, 3])
def test_a_faded_background_is_reconciled(num_foregrounds: int) -> None:
    finished = finish(faded(make_scene(num_foregrounds)))

    assert finished.report.recomposition_before < 25
    assert finished.report.recomposition_worst > 50
    assert finished.report.outline_ratio < 1.1


def test_the_plate_below_the_foreground_is_restored() -> None:
    stack = make_scene()

    finished = finish(faded(stack)).stack

    error = (finished.background.rgb_TCHW - stack.background.rgb_TCHW).abs()
    assert error.max() < 6 * CODE_VALUE


def test_the_plate_is_steady_below_a_foreground_at_rest() -> None:
    stack = faded(make_scene(num_frames=1))
    layers = [
        Layer(layer.role, layer.rgb_TCHW.repeat(4, 1, 1, 1), layer.alpha_T1HW.repeat(4, 1, 1, 1))
        for layer in stack.layers
    ]
    still = Stack(tuple(layers), stack.full_TCHW.repeat(4, 1, 1, 1))

    plate = finish(still).stack.background.rgb_TCHW

    assert (plate - plate[:1]).abs().max() < 1e-5


def test_a_tight_matte_grows_only_near_its_contour() -> None:
    stack = _tight(faded(make_scene(height=192, width=288, num_frames=2)))

    finished = finish(stack)

    assert finished.report.recomposition_after > 45
    assert finished.report.matte_change > 0
    assert _grown_far(stack, finished.stack) == 0


def test_no_outline_of_the_subject_stays_on_the_plate() -> None:
    stack = _tight(faded(make_scene(height=192, width=288, num_frames=2)))
    textbook = stack.background.rgb_TCHW + (1 - stack.layers[1].alpha_T1HW) * (
        stack.full_TCHW - stack.flatten()
    )

    finished = finish(stack)

    careless = outline_ratio(_numpy(textbook), _matte(stack))
    assert finished.report.outline_ratio < min(1.1, careless)


def test_colour_beyond_the_edge_is_that_of_the_interior() -> None:
    stack = make_scene(height=192, width=288, num_frames=1)
    disc = stack.layers[1]
    on_black = disc.rgb_TCHW * (disc.alpha_T1HW > 0.7)

    finished = finish(with_layer(stack, 1, on_black)).stack.layers[1]

    beyond = (disc.alpha_T1HW == 0) & (finished.alpha_T1HW < CODE_VALUE)
    assert ((finished.rgb_TCHW - disc.rgb_TCHW).abs() * beyond).max() < 0.15


def test_a_shadow_far_from_the_matte_goes_to_the_background() -> None:
    stack = make_scene(height=96, width=144)
    full = stack.full_TCHW.clone()
    full[:, :, 70:90, 20:120] *= 0.6

    finished = finish(Stack(stack.layers, full))

    below = finished.stack.background.rgb_TCHW[:, :, 75:85, 30:110]
    assert (below - full[:, :, 75:85, 30:110]).abs().max() < 1e-5
    assert finished.report.recomposition_worst > 50


def test_two_foregrounds_that_cross_are_reconciled_in_front_and_behind() -> None:
    stack = make_scene(3)
    darker = with_layer(faded(stack), 1, stack.layers[1].rgb_TCHW * 0.9)
    darker = with_layer(darker, 3, stack.layers[3].rgb_TCHW * 0.92)

    finished = finish(darker)

    assert finished.report.recomposition_worst > 48
    hidden = (stack.layers[1].alpha_T1HW > 0.99) & (stack.layers[2].alpha_T1HW > 0.99)
    error = (finished.stack.layers[1].rgb_TCHW - stack.layers[1].rgb_TCHW).abs() * hidden
    assert hidden.any()
    assert error.max() < 0.05


@pytest.mark.parametrize("kept", [{0}, {1}, {0, 2}, {0, 1, 2}])
def test_kept_layers_come_back_as_the_same_tensors(kept: set[int]) -> None:
    stack = faded(make_scene(2))

    finished = finish(stack, frozenset(kept))

    for index in kept:
        assert finished.stack.layers[index].rgb_TCHW is stack.layers[index].rgb_TCHW
        assert finished.stack.layers[index].alpha_T1HW is stack.layers[index].alpha_T1HW
    assert finished.report.recomposition_after >= finished.report.recomposition_before - 0.1


def test_the_plate_takes_no_outline_of_a_kept_foreground() -> None:
    stack = _tight(faded(make_scene(height=192, width=288, num_frames=2)))

    finished = finish(stack, frozenset({1}))

    assert finished.report.outline_ratio < 1.1


def test_with_the_background_kept_the_foreground_takes_its_own_share() -> None:
    stack = make_scene()
    darker = with_layer(stack, 1, stack.layers[1].rgb_TCHW * 0.8)

    assert finish(darker, frozenset({0})).report.recomposition_after > 48


def test_keeping_a_layer_that_is_not_there_is_an_error() -> None:
    with pytest.raises(ValueError, match="kept names layer 2; the last layer is 1"):
        finish(make_scene(), frozenset({2}))


def test_the_input_is_not_modified() -> None:
    stack = faded(make_scene())
    before = [layer.rgb_TCHW.clone() for layer in stack.layers]

    finished = finish(stack)

    assert all(torch.equal(a, b.rgb_TCHW) for a, b in zip(before, stack.layers, strict=True))
    assert finished.stack.full_TCHW is stack.full_TCHW


def test_finishing_twice_gives_the_same_bits() -> None:
    first, second = finish(faded(make_scene(2))).stack, finish(faded(make_scene(2))).stack

    for one, other in zip(first.layers, second.layers, strict=True):
        assert torch.equal(one.rgb_TCHW, other.rgb_TCHW)
        assert torch.equal(one.alpha_T1HW, other.alpha_T1HW)


def _is_sound(finished: Finished) -> bool:
    values = json.loads(json.dumps(finished.report.to_json(), allow_nan=False))
    numbers = [value for value in values.values() if not isinstance(value, list)]
    pixels = [layer.rgb_TCHW for layer in finished.stack.layers]
    pixels += [layer.alpha_T1HW for layer in finished.stack.layers]
    in_range = all(((plane >= 0) & (plane <= 1)).all() for plane in pixels)
    return all(math.isfinite(number) for number in numbers) and in_range


@pytest.mark.parametrize("alpha", [0.0, 0.3, 1.0])
def test_an_even_matte_gives_finite_figures(alpha: float) -> None:
    stack = faded(make_scene())
    even = torch.full_like(stack.layers[1].alpha_T1HW, alpha)

    finished = finish(with_layer(stack, 1, stack.layers[1].rgb_TCHW, even))

    assert _is_sound(finished)
    assert finished.report.empty_mattes == ((1,) if alpha == 0 else ())
    assert finished.report.empty_frames == (len(even) if alpha == 0 else 0,)


def test_frames_without_a_foreground_are_counted() -> None:
    stack = faded(make_scene(2))
    alpha = stack.layers[2].alpha_T1HW.clone()
    alpha[:2] = 0.04

    report = finish(with_layer(stack, 2, stack.layers[2].rgb_TCHW, alpha)).report

    assert (report.empty_frames, report.empty_mattes) == ((0, 2), ())


def test_a_foreground_with_an_empty_matte_is_left_alone() -> None:
    stack = faded(make_scene(2))
    empty = torch.zeros_like(stack.layers[1].alpha_T1HW)
    stack = with_layer(stack, 1, stack.layers[1].rgb_TCHW, empty)

    finished = finish(stack)

    assert finished.stack.layers[1] is stack.layers[1]
    assert finished.report.empty_mattes == (1,)


@given(st.integers(0, 1000), st.integers(1, 3), st.sets(st.integers(0, 3)), st.integers(1, 9))
@settings(max_examples=25, deadline=None)
def test_any_stack_finishes_in_range_and_keeps_what_is_kept(
    seed: int, num_foregrounds: int, kept: set[int], side: int
) -> None:
    generator = torch.Generator().manual_seed(seed)
    shape = (2, 3, side, 2 * side)
    layers = [
        Layer(
            Role.FOREGROUND if index else Role.BACKGROUND,
            torch.rand(shape, generator=generator),
            (torch.rand((2, 1, *shape[2:]), generator=generator) * 1.5 - 0.25).clamp(0, 1)
            if index
            else torch.ones(2, 1, *shape[2:]),
        )
        for index in range(num_foregrounds + 1)
    ]
    stack = Stack(tuple(layers), torch.rand(shape, generator=generator))
    kept = {index for index in kept if index <= num_foregrounds}

    finished = finish(stack, frozenset(kept))

    assert _is_sound(finished)
    assert all(finished.stack.layers[index] is stack.layers[index] for index in kept)


def test_an_extension_keeps_what_is_known_and_stays_between_it() -> None:
    values = np.random.default_rng(0).random((3, 31, 45), dtype=np.float32)
    known = np.ones((31, 45), np.float32)
    known[8:20, 10:30] = 0

    filled = extend(values, known)

    assert np.array_equal(filled[:, known == 1], values[:, known == 1])
    assert filled.min() >= values.min() - 1e-6
    assert filled.max() <= values.max() + 1e-6


def test_an_extension_of_nothing_is_zero() -> None:
    assert (extend(np.ones((3, 9, 5), np.float32), np.zeros((9, 5), np.float32)) == 0).all()


def test_small_pictures_keep_a_band_of_one_pixel() -> None:
    assert pixels_per_unit(192) == 1
    assert pixels_per_unit(16) * 4 >= 1


def test_an_exact_stack_has_the_largest_recomposition() -> None:
    stack = make_scene()
    coded = [
        Layer(layer.role, (layer.rgb_TCHW * 255).round() / 255, layer.alpha_T1HW.round())
        for layer in stack.layers
    ]
    exact = Stack(tuple(coded), coded[0].rgb_TCHW)
    exact = Stack(exact.layers, exact.flatten())

    assert psnr(exact) == 100


def test_the_worst_frame_is_named() -> None:
    stack = make_scene(num_frames=3)
    full = stack.full_TCHW.clone()
    full[2] = 1 - full[2]
    finished = finish(Stack(stack.layers, full), frozenset({0, 1}))

    assert finished.report.worst_frame == 2
    assert finished.report.recomposition_worst < finished.report.recomposition_after


def test_an_outline_raises_the_outline_ratio() -> None:
    stack = make_scene(height=192, width=288, num_frames=1)
    plate = _numpy(stack.background.rgb_TCHW)
    contour = np.abs(_matte(stack) - 0.5) < 0.4

    assert outline_ratio(plate + contour[:, None] * 0.3, _matte(stack)) > 2
    assert outline_ratio(plate, _matte(stack)) == pytest.approx(1, abs=0.3)


@pytest.mark.parametrize("ghost", [0.0, 0.1, 0.25])
def test_the_ghost_slope_is_the_injected_share(ghost: float) -> None:
    stack = make_scene(num_frames=12, height=96, width=144)
    plate, full = stack.background.rgb_TCHW, stack.full_TCHW

    slope = ghost_slope(_numpy(plate + ghost * (full - plate)), _numpy(full), _matte(stack))

    assert slope == pytest.approx(ghost, abs=0.02)


def test_no_ghost_slope_is_known_where_a_matte_lies_beside_its_subject() -> None:
    stack = make_scene(num_frames=12, height=96, width=144)
    plate = _numpy(stack.background.rgb_TCHW)

    assert ghost_slope(plate + _matte(stack)[:, None] * 0.1, plate, _matte(stack)) is None


def test_spill_is_none_for_a_foreground_on_pure_black() -> None:
    alpha_T1HW = torch.zeros(1, 1, 4, 4)
    alpha_T1HW[..., :2, :] = 1
    colour_TCHW = 0.5 * alpha_T1HW.expand(-1, 3, -1, -1)

    def spill(colour_TCHW: Tensor) -> float:
        light_T2 = light_of(colour_TCHW, alpha_T1HW)
        return Layer(Role.FOREGROUND, colour_TCHW, alpha_T1HW, light_T2).spill

    assert spill(colour_TCHW) == 0
    assert spill(colour_TCHW + 0.1) == pytest.approx(0.1 / 0.6)
    assert spill(colour_TCHW * 0) == 0
    alpha_T1HW *= 0
    assert spill(colour_TCHW) == 1
    alpha_T1HW += 1e-4
    assert spill(colour_TCHW) == 1


def test_finishing_frames_as_they_come_gives_the_same_and_hands_each_out_once_done() -> None:
    stack = faded(make_scene(2))
    whole, drawn = finish(stack), faded(make_scene(2))
    for frames_TCHW in (drawn.full_TCHW, *(layer.rgb_TCHW for layer in drawn.layers)):
        frames_TCHW.fill_(0.5)
    done: dict[int, list[Tensor]] = {}

    finishing = Finishing(drawn, num_threads=1)
    for t in reversed(range(len(stack.full_TCHW))):
        drawn.full_TCHW[t] = stack.full_TCHW[t]
        for layer, source in zip(drawn.layers, stack.layers, strict=True):
            layer.rgb_TCHW[t] = source.rgb_TCHW[t]
        finishing.take(slice(t, t + 1))
    finished = finishing.finish(
        lambda views, t: done.update({t: [x.rgb_TCHW[t].clone() for x in views.layers]})
    )

    assert finished.report == whole.report
    assert sorted(done) == list(range(len(stack.full_TCHW)))
    for index, layer in enumerate(whole.stack.layers):
        assert torch.equal(finished.stack.layers[index].alpha_T1HW, layer.alpha_T1HW)
        assert torch.equal(torch.stack([done[t][index] for t in sorted(done)]), layer.rgb_TCHW)
