import pytest

from blender_addon.core.shots import (
    ShotProblem,
    check_shot,
    layer_name,
    new_shot,
    parse_seed,
    regenerated,
    shot_from_json,
    shot_to_json,
)
from layert2v_client import KeptLayer, Model

TINY = Model(
    id="tiny",
    description="",
    sizes=((96, 64),),
    num_frames=(9,),
    max_foregrounds=2,
    max_prompt_chars=20,
    default_num_inference_steps=24,
    default_guidance_scale=3.0,
    fps=8.0,
)
SHOT = new_shot("a beach", ("a ball", "a dog"), prompt="a dog plays", seed=1)


def test_a_good_shot_passes_with_and_without_known_limits():
    check_shot(SHOT, None)
    check_shot(SHOT, TINY)


@pytest.mark.parametrize(
    ("shot", "sentence"),
    [
        (new_shot("a", ()), "no foreground. Add"),
        (new_shot(" ", ("b",)), "background is empty. Describe"),
        (new_shot("a", ("b", "")), "foreground 2 is empty. Describe"),
        (new_shot("a", ("b",), seed=-1), "seed -1 is not in 0 to 9223372036854775807. Choose"),
        (new_shot("a", ("b", "c", "d")), "3 foregrounds.*at most 2. Remove"),
        (new_shot("a", ("b" * 21,)), "foreground 1 has 21 characters.*reads 20. Shorten"),
        (new_shot("a", ("b",), prompt="c" * 21), "full picture has 21 characters"),
        (new_shot("a", ("b",), width=97, height=64), "97 x 64. Choose 96 x 64"),
        (new_shot("a", ("b",), num_frames=10), "10 frames. Choose 9"),
    ],
)
def test_a_bad_shot_is_told_with_value_limit_and_remedy(shot, sentence):
    with pytest.raises(ShotProblem, match=sentence):
        check_shot(shot, TINY)


def test_a_regenerated_shot_keeps_every_other_layer():
    shot = regenerated(SHOT, 1, {0: "jobs/a", 2: "jobs/b"}, prompt="a kite", seed=9, full_prompt="")

    assert shot.layers[0].kept == KeptLayer("jobs/a", 0)
    assert shot.layers[2].kept == KeptLayer("jobs/b", 2)
    assert (shot.layers[1].prompt, shot.layers[1].seed, shot.layers[1].kept) == ("a kite", 9, None)


def test_a_new_layer_prompt_drops_the_full_prompt_that_names_the_old_layer():
    kept = {0: "jobs/a", 2: "jobs/a"}

    assert regenerated(SHOT, 1, kept, prompt="a kite", seed=9, full_prompt="").prompt == ""
    assert regenerated(SHOT, 1, kept, prompt="", seed=9, full_prompt="").prompt == "a dog plays"
    given = regenerated(SHOT, 1, kept, prompt="a kite", seed=9, full_prompt="a kite flies")
    assert given.prompt == "a kite flies"


def test_a_shot_survives_json():
    shot = regenerated(SHOT, 1, {0: "jobs/a", 2: "jobs/b"}, prompt="x", seed=9, full_prompt="")

    assert shot_from_json(shot_to_json(shot)) == shot


def test_layers_have_names_for_people():
    assert [layer_name(index) for index in (-1, 0, 2)] == ["full", "background", "foreground 2"]


def test_seeds_have_up_to_63_bits_and_an_empty_one_is_drawn():
    assert parse_seed(" 9223372036854775807 ") == 2**63 - 1
    assert 0 <= parse_seed("") < 2**31


@pytest.mark.parametrize("text", ["-1", "a", "1.5", "9223372036854775808", "0" * 30, "\u0661"])
def test_a_seed_that_is_none_is_told(text):
    with pytest.raises(ShotProblem, match="no whole number from 0 to 9223372036854775807"):
        parse_seed(text)
