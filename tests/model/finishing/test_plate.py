"""The plate against known truth: veils that are thin where the subject was, rims, dark colours."""

from collections.abc import Callable
from dataclasses import replace

import cv2
import numpy as np
import pytest
import torch
from torch import Tensor

from layert2v_model.finishing.fill import distance_to
from layert2v_model.finishing.finish import finish
from layert2v_model.stack import Layer, Stack
from support.layered_scenes import faded, make_scene, veiled_around, with_layer

CODE_VALUE = 1 / 255


def _soft(stack: Stack, sigma: float) -> Stack:
    """The scene with a matte that is as soft as smoke."""
    alpha_THW = stack.layers[1].alpha_T1HW[:, 0].numpy()
    blurred = np.stack([cv2.GaussianBlur(alpha_HW, (0, 0), sigma) for alpha_HW in alpha_THW])
    soft = with_layer(stack, 1, stack.layers[1].rgb_TCHW, torch.from_numpy(blurred)[:, None])
    return replace(soft, full_TCHW=soft.flatten())


def _solid(stack: Stack) -> Stack:
    return stack


def _misty(stack: Stack) -> Stack:
    return _soft(stack, 3)


def _glassy(stack: Stack) -> Stack:
    glass = with_layer(stack, 1, stack.layers[1].rgb_TCHW, stack.layers[1].alpha_T1HW * 0.5)
    return replace(glass, full_TCHW=glass.flatten())


def _repeated(stack: Stack, num_frames: int) -> Stack:
    """A stack of one frame, at rest."""
    times = (num_frames, 1, 1, 1)
    layers = [
        Layer(x.role, x.rgb_TCHW.repeat(times), x.alpha_T1HW.repeat(times)) for x in stack.layers
    ]
    return Stack(tuple(layers), stack.full_TCHW.repeat(times))


def _error(plate_TCHW: Tensor, truth: Stack) -> Tensor:
    """Signed error of the plate in code values, 0 where nothing is before it."""
    covered_T1HW = truth.layers[1].alpha_T1HW > 0.05
    return (plate_TCHW - truth.background.rgb_TCHW) * covered_T1HW / CODE_VALUE


def _mean_of_covered(error_TCHW: Tensor, truth: Stack) -> float:
    covered = int((truth.layers[1].alpha_T1HW[-len(error_TCHW) :] > 0.05).sum())
    return float(error_TCHW.abs().sum() / (3 * covered))


@pytest.mark.parametrize("kind", [_solid, _misty, _glassy])
def test_a_plate_that_is_less_veiled_below_the_subject_is_not_darkened_there(
    kind: Callable[[Stack], Stack],
) -> None:
    truth = kind(make_scene(num_frames=5, height=96, width=144))

    plate_TCHW = finish(veiled_around(truth)).stack.background.rgb_TCHW

    assert _mean_of_covered(_error(plate_TCHW, truth), truth) < 2.2


@pytest.mark.parametrize("kind", [_solid, _misty, _glassy])
def test_a_plate_below_a_moving_subject_is_steady(kind: Callable[[Stack], Stack]) -> None:
    truth = kind(make_scene(num_frames=5, height=96, width=144))

    error_TCHW = _error(finish(veiled_around(truth)).stack.background.rgb_TCHW, truth)

    assert _mean_of_covered(error_TCHW[1:] - error_TCHW[:-1], truth) < 0.7


def test_a_veil_is_not_taken_from_what_is_darker_than_all_around() -> None:
    truth = make_scene(num_frames=2, height=96, width=144)
    below_T1HW = truth.layers[1].alpha_T1HW > 0.98
    dark_TCHW = torch.where(below_T1HW, 0.5 * truth.background.rgb_TCHW, truth.background.rgb_TCHW)
    truth = with_layer(truth, 0, dark_TCHW)
    truth = replace(truth, full_TCHW=truth.flatten())
    veiled_TCHW = torch.where(below_T1HW, dark_TCHW, faded(truth).background.rgb_TCHW)

    plate_TCHW = finish(with_layer(truth, 0, veiled_TCHW)).stack.background.rgb_TCHW

    core_T1HW = -torch.nn.functional.max_pool2d(-below_T1HW.float(), 9, 1, 4) > 0
    crushed_T1HW = (plate_TCHW < CODE_VALUE).any(dim=1, keepdim=True) & core_T1HW
    assert core_T1HW.any()
    assert crushed_T1HW.sum() < 0.01 * core_T1HW.sum()


def test_a_rim_of_the_subject_up_to_four_units_wide_leaves_no_trace_on_the_plate() -> None:
    scene = faded(make_scene(num_frames=2, height=192, width=288))
    alphas = scene.layers[1].alpha_T1HW[:, 0].numpy()
    distance_THW = np.stack([distance_to(alpha_HW > 0.5) for alpha_HW in alphas])
    is_near_T1HW = torch.from_numpy(distance_THW <= 4)[:, None]
    outside_T1HW = is_near_T1HW & (scene.layers[1].alpha_T1HW < 0.5)
    rim_TCHW = torch.where(outside_T1HW, torch.tensor(0.9), scene.full_TCHW)

    clean = finish(scene).stack.background.rgb_TCHW
    rimmed = finish(replace(scene, full_TCHW=rim_TCHW))

    difference_TCHW = (rimmed.stack.background.rgb_TCHW - clean).abs()
    assert difference_TCHW.max() < 4 * CODE_VALUE
    assert rimmed.report.recomposition_worst > 45


def test_a_small_difference_beside_the_matte_is_not_drawn_onto_the_plate() -> None:
    scene = faded(make_scene(num_frames=2, height=192, width=288))
    alphas = scene.layers[1].alpha_T1HW[:, 0].numpy()
    distance_THW = np.stack([distance_to(alpha_HW > 0.5) for alpha_HW in alphas])
    is_beside_T1HW = torch.from_numpy((distance_THW > 0) & (distance_THW <= 3))[:, None]
    lighter = replace(scene, full_TCHW=scene.full_TCHW + 0.014 * is_beside_T1HW)

    plate_TCHW = finish(lighter).stack.background.rgb_TCHW

    assert torch.equal(plate_TCHW, finish(scene).stack.background.rgb_TCHW)


def test_a_tint_beside_a_subject_at_rest_does_not_add_up_with_the_frames() -> None:
    scene = faded(make_scene(num_frames=1, height=96, width=144))
    distance_HW = distance_to(scene.layers[1].alpha_T1HW[0, 0].numpy() > 0.5)
    tint = 0.06 * torch.from_numpy((distance_HW > 4) & (distance_HW < 8))
    tinted = replace(scene, full_TCHW=(scene.full_TCHW + tint).clamp(0, 1))
    still = _repeated(tinted, 9)

    one, many = (finish(shot).stack.background.rgb_TCHW for shot in (tinted, still))

    covered_T1HW = scene.layers[1].alpha_T1HW > 0.5
    assert ((many - one).abs() * covered_T1HW).max() < 1e-4
