"""Finishing of what is hard: moving cameras, glass, crossing layers, kept ones; against truth."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import Tensor

from layert2v_model.finishing.finish import finish
from layert2v_model.finishing.report import psnr
from layert2v_model.stack import Layer, Stack
from support.layered_scenes import faded, make_scene, with_layer

CODE_VALUE = 1 / 255
PAN = 3
"""Pixels per frame by which the camera of `_panned` moves."""


def _panned(num_frames: int = 5, height: int = 64, width: int = 96) -> Stack:
    """A disc that a panning camera follows, over a texture that moves left."""
    wide = make_scene(1, 1, height, width + PAN * num_frames).background.rgb_TCHW[0]
    frames = [wide[:, :, PAN * t : PAN * t + width] for t in range(num_frames)]
    scene = make_scene(1, 1, height, width)
    disc = scene.layers[1]
    follows = Layer(
        disc.role,
        disc.rgb_TCHW.repeat(num_frames, 1, 1, 1),
        disc.alpha_T1HW.repeat(num_frames, 1, 1, 1),
    )
    plate_TCHW = torch.stack(frames)
    background = Layer(scene.background.role, plate_TCHW, torch.ones_like(plate_TCHW[:, :1]))
    stack = Stack((background, follows), plate_TCHW)
    return replace(stack, full_TCHW=stack.flatten())


def _unevenly_faded(stack: Stack) -> Stack:
    """Faded as no colour transform for the shot explains: more so to the right of the picture."""
    fade = torch.linspace(0.7, 0.95, stack.full_TCHW.shape[3])
    return with_layer(stack, 0, stack.background.rgb_TCHW * fade + 0.1)


def _hidden_error(plate_TCHW: Tensor, truth: Stack) -> float:
    """Mean absolute error of a plate where the foreground hides it, in code values."""
    hidden = truth.layers[1].alpha_T1HW > 0.98
    error_TCHW = (plate_TCHW - truth.background.rgb_TCHW).abs() * hidden
    return float(error_TCHW.sum() / (3 * hidden.sum())) / CODE_VALUE


def _flicker(plate_TCHW: Tensor, truth: Stack) -> float:
    """Change of a plate's error from frame to frame where it is hidden: its own motion is none."""
    hidden = (truth.layers[1].alpha_T1HW > 0.98)[1:]
    error_TCHW = plate_TCHW - truth.background.rgb_TCHW
    change_TCHW = (error_TCHW[1:] - error_TCHW[:-1]).abs() * hidden
    return float(change_TCHW.sum() / (3 * hidden.sum())) / CODE_VALUE


def test_a_plate_under_a_moving_camera_is_not_smeared() -> None:
    truth = _panned()

    plate_TCHW = finish(_unevenly_faded(truth)).stack.background.rgb_TCHW

    smeared_TCHW = truth.background.rgb_TCHW.median(dim=0, keepdim=True).values
    static = _hidden_error(smeared_TCHW.expand_as(plate_TCHW), truth)
    assert _hidden_error(plate_TCHW, truth) < static / 3


def test_a_plate_under_a_moving_camera_is_steady() -> None:
    truth = _panned()
    shot = _unevenly_faded(truth)

    plate_TCHW = finish(shot).stack.background.rgb_TCHW

    alone = [
        finish(Stack(_frame(shot, t).layers, _frame(shot, t).full_TCHW))
        for t in range(len(plate_TCHW))
    ]
    per_frame_TCHW = torch.cat([done.stack.background.rgb_TCHW for done in alone])
    assert _flicker(plate_TCHW, truth) < 3
    assert _flicker(plate_TCHW, truth) < _flicker(per_frame_TCHW, truth)


def _frame(stack: Stack, t: int) -> Stack:
    """One frame as a stack of its own."""
    layers = [Layer(x.role, x.rgb_TCHW[t : t + 1], x.alpha_T1HW[t : t + 1]) for x in stack.layers]
    return Stack(tuple(layers), stack.full_TCHW[t : t + 1])


def _glass() -> Stack:
    """A disc through which half of the light passes."""
    scene = make_scene(height=96, width=144)
    disc = scene.layers[1]
    glass = with_layer(scene, 1, disc.rgb_TCHW, disc.alpha_T1HW * 0.5)
    return replace(glass, full_TCHW=glass.flatten())


def test_glass_stays_glass() -> None:
    truth = _glass()

    finished = finish(faded(truth))

    core = truth.layers[1].alpha_T1HW > 0.49
    grown = (finished.stack.layers[1].alpha_T1HW - truth.layers[1].alpha_T1HW) * core
    assert finished.report.recomposition_worst > 45
    assert grown.max() < 0.1


def test_the_plate_behind_glass_is_restored() -> None:
    truth = _glass()

    finished = finish(faded(truth)).stack

    seen_through = truth.layers[1].alpha_T1HW > 0.49
    error = (finished.background.rgb_TCHW - truth.background.rgb_TCHW).abs() * seen_through
    assert error.max() < 10 * CODE_VALUE


def test_where_foregrounds_cross_both_keep_their_own_colour() -> None:
    truth = make_scene(2)
    wrong = with_layer(faded(truth), 1, truth.layers[1].rgb_TCHW * 0.85)
    wrong = with_layer(wrong, 2, truth.layers[2].rgb_TCHW * 0.85)

    finished = finish(wrong).stack

    for index in (1, 2):
        solid = truth.layers[index].alpha_T1HW > 0.98
        error = (finished.layers[index].rgb_TCHW - truth.layers[index].rgb_TCHW).abs() * solid
        assert error.max() < 10 * CODE_VALUE


def _best_with_rest_kept(stack: Stack, index: int) -> float:
    """PSNR that the best colour of one layer could reach if its alpha and the rest stay."""
    clear = torch.ones_like(stack.layers[index].alpha_T1HW)
    for layer in stack.layers[index + 1 :]:
        clear = clear * (1 - layer.alpha_T1HW)
    weight = clear * stack.layers[index].alpha_T1HW
    miss = stack.full_TCHW - stack.flatten()
    colour = stack.layers[index].rgb_TCHW
    best = (colour + miss / weight.clamp_min(1e-6)).clamp(0, 1)
    composite = stack.flatten() + weight * (best - colour)
    return float(-10 * torch.log10((composite - stack.full_TCHW).square().mean()))


@pytest.mark.parametrize("index", [1, 2])
def test_one_new_foreground_takes_all_that_a_colour_of_its_own_can(index: int) -> None:
    """All else kept: what is wrong elsewhere stays, and the figure says so."""
    truth = make_scene(2)
    shot = with_layer(faded(truth), index, truth.layers[index].rgb_TCHW * 0.85)
    kept = frozenset({0, 1, 2} - {index})

    report = finish(shot, kept).report

    assert report.recomposition_after > _best_with_rest_kept(shot, index) - 0.3
    assert report.recomposition_after > psnr(shot)


def test_the_number_of_threads_changes_no_bit() -> None:
    shot = faded(make_scene(2, num_frames=5))

    one, many = finish(shot, num_threads=1), finish(shot, num_threads=4)

    assert one.report == many.report
    for first, second in zip(one.stack.layers, many.stack.layers, strict=True):
        assert np.array_equal(first.rgb_TCHW.numpy(), second.rgb_TCHW.numpy())
        assert np.array_equal(first.alpha_T1HW.numpy(), second.alpha_T1HW.numpy())
