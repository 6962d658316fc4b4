from dataclasses import replace

import numpy as np
import pytest

from layert2v_training.evaluation.metrics import leaks
from layert2v_training.evaluation.metrics.camera import steadied
from layert2v_training.evaluation.metrics.take_planes import Planes
from support.layered_scenes import make_scene


def _scene(num_frames: int = 9, num_foregrounds: int = 1) -> Planes:
    return Planes.of(make_scene(num_foregrounds, num_frames, 96, 144))


def _haunted(planes: Planes, share: float) -> Planes:
    """Mix a share of the covered full video into the plate."""
    mixed = np.float32(share) * planes.coverage_THW[:, None]
    haunted = planes.background_TCHW + mixed * (planes.full_TCHW - planes.background_TCHW)
    return replace(planes, background_TCHW=haunted)


@pytest.mark.parametrize("share", [0.02, 0.25])
def test_ghost_slope_is_the_share_that_was_injected(share: float) -> None:
    planes = _haunted(_scene(13), share)

    assert leaks.ghost_slope(steadied(planes)) == pytest.approx(share, abs=1e-3)


def test_half_a_ghost_correlates_and_a_clean_plate_does_not() -> None:
    planes = _scene()

    assert leaks.ghost_correlation(_haunted(planes, 0.5)) > 0.3
    assert abs(leaks.ghost_correlation(planes)) < 0.15


def test_a_faint_ghost_disturbs_the_plate_and_a_still_one_gives_exactly_one() -> None:
    planes = _scene()

    assert leaks.background_disturbance(steadied(planes)) == 1
    assert leaks.background_disturbance(steadied(_haunted(planes, 0.05))) > 5


def test_a_foreground_that_shows_the_plate_outside_its_matte_is_a_copy() -> None:
    planes = _scene(3)
    copied = replace(planes, colours=(planes.background_TCHW,))

    assert leaks.foreground_copy(copied) > 0.8
    assert abs(leaks.foreground_copy(planes)) < 0.2


def _matte(alpha_HW: np.ndarray) -> Planes:
    planes = _scene(1)
    return replace(planes, alphas=(alpha_HW[None].astype(np.float32),))


def test_a_hole_is_counted_by_its_area() -> None:
    alpha = np.zeros((96, 144))
    alpha[20:40, 20:40] = 1
    assert leaks.holes(_matte(alpha)) == 0

    alpha[28:32, 28:32] = 0

    assert leaks.holes(_matte(alpha)) == pytest.approx(16 / 384)


def test_a_speck_is_what_is_outside_the_largest_piece() -> None:
    alpha = np.zeros((96, 144))
    alpha[20:40, 20:40] = 1
    assert leaks.specks(_matte(alpha)) == 0

    alpha[60:62, 60:62] = 1

    assert leaks.specks(_matte(alpha)) == pytest.approx(4 / 404)
    assert leaks.specks(_matte(np.zeros((96, 144)))) is None


def test_haze_is_soft_alpha_far_from_the_contour_only() -> None:
    alpha = np.zeros((96, 144))
    alpha[20:40, 20:40] = 1
    alpha[19, 20:40] = 0.4
    assert leaks.haze(_matte(alpha)) == 0

    alpha[80:90, 100:120] = 0.3

    assert leaks.haze(_matte(alpha)) == pytest.approx(200 / (96 * 144))


def test_overlap_is_the_shared_part_of_the_smaller_matte() -> None:
    alphas = np.zeros((2, 1, 96, 144), np.float32)
    alphas[0, :, :40], alphas[1, :, 30:50] = 1, 1

    planes = replace(_scene(1), alphas=tuple(alphas))

    assert leaks.layer_overlap(planes) == pytest.approx(0.5)
    assert leaks.layer_overlap(_scene(1)) is None
