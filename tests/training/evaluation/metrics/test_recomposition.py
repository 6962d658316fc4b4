from dataclasses import replace

import numpy as np
import pytest

from layert2v_model.stack import Stack
from layert2v_training.evaluation.metrics.recomposition import (
    effects_residual,
    order_margin,
    psnr_in,
    similarity,
)
from layert2v_training.evaluation.metrics.take_planes import Planes
from support.layered_scenes import make_scene, with_layer


def _planes(num_foregrounds: int = 1) -> Planes:
    return Planes.of(make_scene(num_foregrounds, 3))


def _off(planes: Planes, region: np.ndarray, step: float) -> Planes:
    """The same layers, with a full video that is off by `step` on a region."""
    return replace(planes, full_TCHW=planes.composite_TCHW + np.float32(step) * region[:, None])


def test_an_error_of_a_tenth_is_20_decibels_on_the_region_that_has_it_and_none_elsewhere() -> None:
    planes = _planes()

    spoilt = _off(planes, planes.edge_THW, 0.1)

    assert psnr_in(spoilt, spoilt.edge_THW) == pytest.approx(20, abs=0.01)
    assert psnr_in(spoilt, spoilt.open_THW) == pytest.approx(100)
    assert psnr_in(spoilt, spoilt.core_THW) == pytest.approx(100)


def test_an_empty_region_has_no_figure() -> None:
    planes = _planes()

    assert psnr_in(planes, np.zeros_like(planes.core_THW)) is None


def test_core_edge_and_open_regions_do_not_touch() -> None:
    planes = _planes(2)
    regions = [planes.core_THW, planes.edge_THW, planes.open_THW]

    assert all(region.any() for region in regions)
    assert np.sum(regions, axis=0).max() == 1


def test_a_premultiplied_foreground_taken_as_straight_caps_the_edge_not_the_core() -> None:
    scene = make_scene(1, 3)
    layer = scene.foregrounds[0]

    planes = Planes.of(with_layer(scene, 1, layer.rgb_TCHW * layer.alpha_T1HW))

    assert psnr_in(planes, planes.edge_THW) < 25
    assert psnr_in(planes, planes.core_THW) > 90


def test_a_shadow_in_no_layer_is_seen_near_and_not_far() -> None:
    planes = _planes()

    residual = effects_residual(_off(planes, planes.near_THW, -0.04))

    assert residual == pytest.approx(0.04 * 255, rel=0.01)
    assert effects_residual(planes) == pytest.approx(0, abs=1e-3)


def test_swapped_foregrounds_lose_what_the_right_order_gains() -> None:
    scene = make_scene(2, 3)
    swapped = Stack((scene.layers[0], scene.layers[2], scene.layers[1]), scene.full_TCHW)

    gained, lost = order_margin(Planes.of(scene)), order_margin(Planes.of(swapped))

    assert gained > 20
    assert lost == pytest.approx(-gained, abs=1e-3)
    assert order_margin(_planes(1)) is None


def test_the_same_picture_is_fully_similar_and_a_negative_is_not() -> None:
    planes = _planes()

    assert similarity(planes) == pytest.approx(1)
    assert similarity(replace(planes, full_TCHW=1 - planes.composite_TCHW)) < 0.5
