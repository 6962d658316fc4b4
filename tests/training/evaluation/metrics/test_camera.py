from dataclasses import replace

import cv2
import numpy as np
import pytest

from layert2v_model.finishing.fill import Floats
from layert2v_model.finishing.report import ghost_slope
from layert2v_training.evaluation.metrics import leaks
from layert2v_training.evaluation.metrics.camera import find_cameras, steadied
from layert2v_training.evaluation.metrics.take_planes import Planes

HEIGHT, WIDTH, FRAMES = 96, 160, 9
REACH = 40
"""Pixels that the wall goes on beyond the picture, on each side."""


def _wall() -> Floats:
    noise = np.random.default_rng(1).random((HEIGHT + 2 * REACH, WIDTH + 2 * REACH, 3), np.float32)
    smooth = cv2.GaussianBlur(noise, (0, 0), 4)
    return (smooth - smooth.min()) / (smooth.max() - smooth.min())


def _looks(way: str, t: int) -> Floats:
    """Where the picture's pixels lie on the wall in frame t."""
    phase = t - FRAMES // 2
    if way == "pan":
        return np.array([[1, 0, REACH + 3.3 * phase], [0, 1, REACH - 1.2 * phase], [0, 0, 1]])
    if way == "zoom":
        scale = 1 + 0.04 * phase
        centre = np.array([WIDTH / 2, HEIGHT / 2])
        shift = REACH + centre - scale * centre
        return np.array([[scale, 0, shift[0]], [0, scale, shift[1]], [0, 0, 1]])
    return np.array([[1, 0, REACH + 2 * phase], [0, 1, REACH], [2e-4 * phase, 0, 1]])


def _filmed(way: str, ghost: float, height: int = HEIGHT) -> Planes:
    """A bright disc that stays where it is in the picture, before a wall."""
    wall_HWC = _wall()
    flags = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
    plates = [
        cv2.warpPerspective(wall_HWC, _looks(way, t), (WIDTH, HEIGHT), flags=flags)
        for t in range(FRAMES)
    ]
    plate_TCHW = np.moveaxis(np.stack(plates), 3, 1)
    y, x = np.mgrid[:HEIGHT, :WIDTH]
    disc = (np.hypot(x - 25, y - 25) < 10).astype(np.float32)
    alpha_THW = np.repeat(disc[None], FRAMES, axis=0)
    colour_TCHW = np.full_like(plate_TCHW, 0.95)
    full_TCHW = plate_TCHW + alpha_THW[:, None] * (colour_TCHW - plate_TCHW)
    haunted_TCHW = plate_TCHW + ghost * (full_TCHW - plate_TCHW)
    return Planes(full_TCHW, haunted_TCHW, (colour_TCHW,), (alpha_THW,))


@pytest.mark.parametrize("way", ["pan", "zoom", "turn"])
@pytest.mark.parametrize("ghost", [0.0, 0.1])
def test_a_ghost_is_measured_through_a_moving_camera(way: str, ghost: float) -> None:
    steady = steadied(_filmed(way, ghost))

    assert leaks.ghost_slope(steady) == pytest.approx(ghost, abs=0.02)
    assert 0 < leaks.ghost_judged(steady) <= 1


@pytest.mark.parametrize("ghost", [0.0, 0.1])
def test_a_plate_that_shimmers_is_no_ghost(ghost: float) -> None:
    planes, noise = _filmed("pan", ghost), np.random.default_rng(2)
    shimmer = noise.normal(0, 0.05, (FRAMES, 1, HEIGHT, WIDTH)).astype(np.float32)
    shimmer = np.stack([cv2.GaussianBlur(x[0], (0, 0), 1.5)[None] * 10 for x in shimmer])
    haunted = replace(planes, background_TCHW=planes.background_TCHW + shimmer)

    assert leaks.ghost_slope(steadied(haunted)) == pytest.approx(ghost, abs=0.01)


def test_without_steadying_a_pan_hides_or_feigns_ghosts() -> None:
    planes = _filmed("pan", 0.0)

    assert ghost_slope(planes.background_TCHW, planes.full_TCHW, planes.coverage_THW) is None


def test_a_camera_at_rest_changes_no_pixel() -> None:
    planes = _filmed("pan", 0.1)
    still = Planes(
        planes.full_TCHW[:1].repeat(5, 0),
        planes.background_TCHW[:1].repeat(5, 0),
        (planes.colours[0][:5],),
        (planes.alphas[0][:5],),
    )

    assert find_cameras(still) == [None] * 5
    assert steadied(still).plate_TCHW is still.background_TCHW


def test_a_flat_plate_has_no_camera_to_find() -> None:
    planes = _filmed("pan", 0.0)
    flat = np.full_like(planes.background_TCHW, 0.5)

    steady = steadied(Planes(planes.full_TCHW, flat, planes.colours, planes.alphas))

    assert np.array_equal(steady.plate_TCHW, flat)


def test_cameras_of_large_pictures_are_sought_in_small_ones() -> None:
    planes = _filmed("pan", 0.0)

    def large(frames_TCHW: Floats) -> Floats:
        size = (4 * WIDTH, 4 * HEIGHT)
        frames = [cv2.resize(np.moveaxis(x, 0, 2), size) for x in frames_TCHW]
        return np.moveaxis(np.stack(frames), 3, 1)

    alpha_THW = large(planes.alphas[0][:, None].repeat(3, 1))[:, 0]
    wide = Planes(
        large(planes.full_TCHW),
        large(planes.background_TCHW),
        (large(planes.colours[0]),),
        (alpha_THW,),
    )

    small, big = find_cameras(planes)[0], find_cameras(wide)[0]

    assert big[:2, 2] == pytest.approx(4 * small[:2, 2], abs=0.5)
