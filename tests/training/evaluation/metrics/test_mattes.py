import numpy as np
import pytest

from layert2v_training.evaluation.metrics import mattes
from layert2v_training.evaluation.metrics.take_planes import Planes
from support.layered_scenes import make_scene

MATTE = Planes.of(make_scene(1, 3)).alphas[0]


def _blank(num_frames: int = 2) -> np.ndarray:
    return np.zeros((num_frames, 20, 10), np.float32)


def test_identical_soft_mattes_have_an_iou_of_one_and_no_differences() -> None:
    assert ((MATTE > 0.1) & (MATTE < 0.9)).any()
    assert mattes.soft_iou(MATTE, MATTE) == 1
    assert mattes.absolute_difference(MATTE, MATTE) == 0
    assert mattes.gradient_difference(MATTE, MATTE) == 0
    assert mattes.connectivity_difference(MATTE, MATTE) == 0
    assert mattes.change_difference(MATTE, MATTE) == 0


def test_soft_iou_is_smaller_over_larger() -> None:
    made, true = _blank(), _blank()
    made[:, :10], true[:, :10] = 0.25, 1

    assert mattes.soft_iou(made, true) == 0.25
    assert mattes.soft_iou(made, _blank()) == 0
    assert mattes.soft_iou(_blank(), _blank()) == 1


def test_differences_of_a_half_are_counted_in_thousands() -> None:
    made = _blank() + np.float32(0.5)

    assert mattes.absolute_difference(made, _blank()) == 500
    assert mattes.squared_difference(made, _blank()) == 250
    assert mattes.sum_of_differences(made, _blank()) == pytest.approx(0.5 * 200 / 1000)


def test_a_steady_error_has_no_difference_of_changes_and_a_flash_has() -> None:
    steady, flash = _blank(3) + np.float32(0.5), _blank(3)
    flash[1] = 0.5

    assert mattes.change_difference(steady, _blank(3)) == 0
    assert mattes.change_difference(flash, _blank(3)) == pytest.approx(50)
    assert mattes.change_difference(flash[:1], _blank(1)) is None


def test_the_gradient_of_a_ramp_is_what_its_kernel_says() -> None:
    # A slope s gives s * sum(kernel * x) at every pixel clear of the border, here one column wide.
    x = np.arange(-4, 5)
    bell = np.exp(-(x**2) / (2 * 1.4**2))
    kernel = np.outer(bell, x * bell) / np.sqrt(np.square(np.outer(bell, x * bell)).sum())
    ramp = np.tile(np.linspace(0, 0.8, 9, dtype=np.float32), (9, 1))
    expected = 0.1 * (kernel * x).sum()

    assert mattes._gradient(ramp)[4, 4] == pytest.approx(expected, rel=1e-4)


def test_a_loose_island_costs_connectivity_and_a_joined_one_does_not() -> None:
    true, loose, joined = _blank(1), _blank(1), _blank(1)
    true[0, :10] = 1
    loose[0, :10], loose[0, 15:17] = 1, 1
    joined[0, :10] = 1

    # Twenty pixels that hang on nothing: phi falls from 1 to 0 in each, over 1000.
    assert mattes.connectivity_difference(loose, true) == pytest.approx(0.02)
    assert mattes.connectivity_difference(joined, true) == 0


def test_a_wrong_colour_counts_only_where_the_true_matte_is() -> None:
    true = _blank()
    true[:, :10] = 0.5
    made, rgb = np.zeros((2, 3, 20, 10), np.float32), np.zeros((2, 3, 20, 10), np.float32)
    made[:, :, 10:] = 1
    assert mattes.colour_difference(made, rgb, true) == 0

    made[:, 0, :10] = 0.3

    assert mattes.colour_difference(made, rgb, true) == pytest.approx(0.1)
    assert mattes.colour_difference(made, rgb, _blank()) is None
