import numpy as np
import pytest

from layert2v_training.evaluation.metrics import steadiness
from layert2v_training.evaluation.metrics.take_planes import Planes
from support.layered_scenes import make_scene

SCENE = Planes.of(make_scene(1, 7, 96, 144))


def test_a_step_of_a_tenth_in_every_frame_flickers_by_a_tenth() -> None:
    frames = np.zeros((4, 3, 8, 8), np.float32) + 0.1 * np.arange(4)[:, None, None, None]

    assert steadiness.temporal_flicker(frames) == pytest.approx(0.9)
    assert steadiness.temporal_flicker(frames[:1]) is None


def _blinking(share: float) -> np.ndarray:
    """The matte with every second frame thinner by a share."""
    return SCENE.alphas[0] * (1 - share * (np.arange(7) % 2))[:, None, None].astype(np.float32)


def test_a_moving_clean_matte_does_not_flicker_in_its_core() -> None:
    assert steadiness.matte_core_flicker(SCENE.alphas[0]) == pytest.approx(0, abs=1e-3)
    assert steadiness.matte_area_flicker(SCENE.alphas[0]) == pytest.approx(0, abs=2e-3)


def test_a_matte_that_blinks_by_a_share_flickers_by_twice_that() -> None:
    # |second difference| of 1, 1 - s, 1, ... is 2 s; its mean area is 1 - 3 s / 7.
    blinking = _blinking(0.08)

    assert steadiness.matte_core_flicker(blinking) == pytest.approx(160, abs=1)
    expected = 0.16 / (1 - 0.08 * 3 / 7)
    assert steadiness.matte_area_flicker(blinking) == pytest.approx(expected, rel=0.02)


def test_two_frames_have_no_second_difference() -> None:
    assert steadiness.matte_core_flicker(SCENE.alphas[0][:2]) is None
    assert steadiness.matte_area_flicker(SCENE.alphas[0][:2]) is None


def test_motion_is_no_warp_error_and_a_flash_is() -> None:
    plate = SCENE.background_TCHW
    panned = np.stack([np.roll(plate[t], t, axis=2) for t in range(4)])
    flashing = panned + 0.2 * (np.arange(4) % 2)[:, None, None, None].astype(np.float32)

    assert steadiness.warp_error(panned) < 0.25 * np.abs(np.diff(panned, axis=0)).mean()
    assert steadiness.warp_error(flashing) > 0.1
    assert steadiness.warp_error(panned[:1]) is None
