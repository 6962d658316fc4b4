import numpy as np
import pytest
import torch

from layert2v_model.errors import NotFinite
from layert2v_model.finishing.finish import finish
from layert2v_model.stack import Layer, Role, Stack
from layert2v_training.evaluation.baselines import empty_matte, median_plate
from layert2v_training.evaluation.metrics.catalogue import METRICS
from layert2v_training.evaluation.metrics.take_figures import measure_take, summarise
from support.layered_scenes import make_scene, with_layer


def test_the_truth_measured_against_itself_is_perfect() -> None:
    scene = make_scene(2, 5)

    values = measure_take(scene, scene)

    assert values["soft_iou"] == 1
    assert values["soft_iou_finished"] > 0.99
    assert values["matte_mad"] == values["matte_dtssd"] == values["colour_l1"] == 0
    assert values["plate_under_foreground"] == 100
    assert values["recomposition_before"] > 50
    assert abs(values["ghost_slope_before"]) < 0.01
    assert values["empty_matte_share"] == values["empty_frame_share"] == 0


@pytest.mark.parametrize("is_truth", [False, True])
def test_no_figure_is_made_of_numbers_that_are_not_finite(is_truth: bool) -> None:
    scene = make_scene(2, 3)
    alpha_T1HW = scene.foregrounds[1].alpha_T1HW.clone()
    alpha_T1HW[2, 0, 0, 0] = float("nan")
    broken = with_layer(scene, 2, scene.foregrounds[1].rgb_TCHW, alpha_T1HW)

    with pytest.raises(NotFinite, match="frame 2 of the alpha of foreground_2"):
        measure_take(*((scene, broken) if is_truth else (broken, scene)))


def test_frames_of_a_foreground_that_leaves_are_counted() -> None:
    scene = make_scene(2, 4)
    gone = scene.foregrounds[1].alpha_T1HW.clone()
    gone[3:] = 0

    values = measure_take(with_layer(scene, 2, scene.foregrounds[1].rgb_TCHW, gone))

    assert (values["empty_matte_share"], values["empty_frame_share"]) == (0, 1 / 8)


def test_every_figure_of_a_full_take_is_in_the_catalogue_in_its_order() -> None:
    scene = make_scene(2, 5)

    values = measure_take(scene, scene)

    assert list(values) == [name for name in METRICS if name in values]
    assert {METRICS[name].family[0] for name in values} >= {"R", "A", "L", "T"}
    assert all(np.isfinite(list(values.values())))


def test_figures_of_finishing_are_its_reports() -> None:
    scene = make_scene(1, 3)
    spoilt = with_layer(scene, 0, scene.background.rgb_TCHW * 0.8 + 0.1)

    values, report = measure_take(spoilt), finish(spoilt).report

    names = ("recomposition_before", "recomposition_after", "matte_change", "outline_ratio")
    assert [values[name] for name in names] == [getattr(report, name) for name in names]


def test_spill_is_the_layers_own() -> None:
    scene = make_scene(1, 3)
    layer = scene.foregrounds[0]
    light_T2 = torch.tensor([[1.0, 3.0], [0.0, 1.0]])
    spilled = Layer(Role.FOREGROUND, layer.rgb_TCHW, layer.alpha_T1HW, light_T2)

    assert measure_take(Stack((scene.background, spilled), scene.full_TCHW))["spill"] == 0.25


def test_without_a_truth_the_matte_is_compared_with_where_full_and_background_differ() -> None:
    scene = make_scene(1, 3)

    assert 0.8 < measure_take(scene)["soft_iou"] < 1
    blind = with_layer(scene, 1, scene.foregrounds[0].rgb_TCHW, torch.zeros(3, 1, 64, 96))
    assert measure_take(blind)["soft_iou"] == 0
    assert measure_take(blind)["empty_matte_share"] == 1


def test_what_finishing_makes_agree_is_told_beside_what_was_made() -> None:
    scene = make_scene(1, 5)
    noise = 0.2 * torch.rand(scene.full_TCHW.shape, generator=torch.Generator().manual_seed(1))
    plate_TCHW = (scene.background.rgb_TCHW + noise).clamp(0, 1)

    values = measure_take(with_layer(scene, 0, plate_TCHW, scene.background.alpha_T1HW))

    assert values["soft_iou"] < 0.5
    assert values["soft_iou_finished"] > 0.8


def test_a_ghost_behind_what_never_moves_is_undefined_not_absent() -> None:
    scene = make_scene(1, 5)
    still = with_layer(
        scene,
        1,
        scene.foregrounds[0].rgb_TCHW[:1].expand(5, -1, -1, -1),
        scene.foregrounds[0].alpha_T1HW[:1].expand(5, -1, -1, -1),
    )
    haunted = with_layer(still, 0, still.flatten(), torch.ones(5, 1, 64, 96))

    values = measure_take(haunted)

    assert "ghost_slope" not in values
    assert values["ghost_judged"] == 0


def test_one_frame_has_no_figures_of_time() -> None:
    values = measure_take(make_scene(1, 1))

    assert not {"temporal_flicker", "warp_error", "matte_core_flicker"} & values.keys()


def test_the_empty_baseline_recomposes_and_finds_nothing() -> None:
    scene = make_scene(1, 5)

    values = measure_take(empty_matte(scene.full_TCHW), scene)

    assert values["recomposition_before"] > 50
    assert values["soft_iou"] == 0
    assert values["empty_matte_share"] == 1


def test_the_median_baseline_finds_what_moves() -> None:
    scene = make_scene(1, 9)
    layer = scene.foregrounds[0]
    steps = [torch.roll(layer.alpha_T1HW[:1], 9 * t - 24, 3) for t in range(9)]
    jumping = with_layer(scene, 1, layer.rgb_TCHW, torch.cat(steps))
    truth = Stack(jumping.layers, jumping.flatten())

    stack = median_plate(truth.full_TCHW, num_foregrounds=2)

    assert measure_take(Stack(stack.layers[:2], stack.full_TCHW), truth)["soft_iou"] > 0.5
    assert stack.layers[2].alpha_T1HW.max() == 0


def test_the_worst_is_the_lowest_or_the_highest_as_the_metric_says() -> None:
    shots = {
        "a": {"soft_iou": 0.9, "spill": 0.1, "ghost_slope": 0.1},
        "b": {"soft_iou": 0.5, "spill": 0.3, "ghost_slope": -0.3},
        "c": {"soft_iou": 0.7},
    }

    summary = summarise(shots)

    assert summary["soft_iou"] == {
        "mean": pytest.approx(0.7), "worst": 0.5, "worst_shot": "b", "shots": 3,
    }  # fmt: skip
    assert summary["spill"] == {
        "mean": pytest.approx(0.2), "worst": 0.3, "worst_shot": "b", "shots": 2,
    }  # fmt: skip
    assert summary["ghost_slope"]["worst"] == -0.3
