import pytest
import torch

from layert2v_training.evaluation.given_scenes import beside_generated, given_of, read_subset
from layert2v_training.evaluation.measured_shots import Section
from layert2v_training.evaluation.prompts import BadInput
from support.layered_scenes import make_scene


def test_a_subset_is_read_in_the_models_order() -> None:
    assert read_subset("foreground_1+full") == ("full", "foreground_1")


@pytest.mark.parametrize(
    ("words", "reason"),
    [
        ("sky", "names sky"),
        ("", "names nothing"),
        ("full+full", "twice"),
        ("full+background+foreground_1+alpha_1", "leaves nothing to make"),
    ],
)
def test_a_subset_that_cannot_be_given_is_refused(words: str, reason: str) -> None:
    with pytest.raises(BadInput, match=reason):
        read_subset(words)


def test_colour_is_given_on_black_where_its_alpha_is_not() -> None:
    scene = make_scene(1, 2)
    layer = scene.foregrounds[0]

    alone = given_of(scene, ("foreground_1",))["foreground_1"]
    both = given_of(scene, ("foreground_1", "alpha_1"))["foreground_1"]

    assert torch.equal(alone, layer.rgb_TCHW * layer.alpha_T1HW)
    assert torch.equal(both, layer.rgb_TCHW)


def test_the_gap_is_taken_over_the_same_scenes() -> None:
    section = Section()
    section.shots = [
        {"values": {"recomposition_before": 34.0, "ghost_slope": 0.1}},
        {"values": {"recomposition_before": 30.0}},
    ]
    generated = [
        {"values": {"recomposition_before": 30.0, "ghost_slope": 0.3}},
        {"values": {"recomposition_before": 28.0, "ghost_slope": 0.5}},
        {"values": {"recomposition_before": 0.0}},
    ]

    found = beside_generated(section, generated)

    assert found["recomposition_before"] == {"given": 32.0, "generated": 29.0, "gap": 3.0}
    assert found["ghost_slope"]["gap"] == pytest.approx(-0.2)
