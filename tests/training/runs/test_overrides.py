from pathlib import Path

import pytest

from layert2v_training.runs.overrides import InvalidRecipe, apply_overrides, read_overrides
from layert2v_training.runs.recipe_checks import check_recipe
from layert2v_training.runs.recipes import RECIPES, Recipe, tiny, wan2_1_1_3b
from layert2v_training.stages.lora import LoraRecipe


def changed(*assignments: str) -> Recipe:
    return apply_overrides(tiny(), read_overrides([], assignments))


@pytest.mark.parametrize("name", RECIPES)
def test_every_recipe_is_free_of_conflicts(name: str) -> None:
    check_recipe(RECIPES[name]())


def test_a_field_is_changed_by_its_name_and_nothing_else_is() -> None:
    recipe = changed("joint.loop.learning_rate=1e-4")

    assert recipe.joint.loop.learning_rate == 1e-4
    assert recipe.joint.loop.muon_scale == tiny().joint.loop.muon_scale
    assert recipe.multi_foreground == tiny().multi_foreground


def test_fields_that_depend_on_each_other_change_together() -> None:
    noise = changed(
        "multi_foreground.noise.synchronous=0", "multi_foreground.noise.given_frames=0.6"
    ).multi_foreground.noise

    assert (noise.synchronous, noise.given_frames) == (0.0, 0.6)


def test_an_absent_part_is_made_from_what_is_set() -> None:
    assert changed("joint.lora.rank=8").joint.lora == LoraRecipe(rank=8)


def test_a_setting_of_the_network_is_changed_beside_the_others() -> None:
    network = changed("transformer.num_layers=2", "scene.foregrounds=[1, 2, 3]").transformer

    assert network["num_layers"] == 2
    assert network["ffn_dim"] == tiny().transformer["ffn_dim"]


def test_assignments_win_over_files_and_later_files_over_earlier(tmp_path: Path) -> None:
    for name, text in (("a", "num_clips: 1\nfps: 24"), ("b", "num_clips: 2\nvae_clips: 5")):
        (tmp_path / name).write_text(text)

    changes = read_overrides([tmp_path / "a", tmp_path / "b"], ["vae_clips=7"])

    assert changes == {"num_clips": 2, "fps": 24, "vae_clips": 7}


@pytest.mark.parametrize(
    ("assignment", "said"),
    [
        (
            "joint.loop.learnin_rate=1",
            "joint.loop.learnin_rate is not a field; did you mean learning",
        ),
        ("joint.loop.num_steps=many", "joint.loop.num_steps is 'many': Input should be a valid"),
        ("joint.loop.autocast=float8", "joint.loop.autocast is 'float8'"),
        ("joint.noise.synchronous=2", "joint.noise: synchronous is 2"),
        ("joint.loop", "has no value"),
        ("joint.loop=5", "joint.loop is 5"),
        ("joint.loop.num_steps=0", "joint.loop.num_steps is 0: .* greater than or equal to 1"),
        ("joint.loop.gradient_accumulation=0", "gradient_accumulation is 0: .* or equal to 1"),
        ("joint.loop.learning_rate=-1", "joint.loop.learning_rate is -1: .* greater than 0"),
        ("joint.loop.learning_rate=.nan", "joint.loop.learning_rate is nan: "),
        ("joint.loop.ema_decay=2", "joint.loop.ema_decay is 2: Input should be less than 1"),
        ("joint.batch_size=0", "joint.batch_size is 0: .* greater than or equal to 1"),
        ("joint.caption_dropout=2", "joint.caption_dropout is 2: .* less than or equal to 1"),
        ("joint.lora.rank=0", "joint.lora.rank is 0: .* greater than or equal to 1"),
        ("joint.decoded.matte=-1", "joint.decoded.matte is -1: .* greater than or equal to 0"),
        ("num_clips=0", "num_clips is 0: .* greater than or equal to 1"),
        ("alpha_vae.rank=0", "alpha_vae.rank is 0: .* greater than or equal to 1"),
        ("extra_sizes=[[0,0]]", "extra_sizes is .*: Input should be greater than or equal to 16$"),
        ("extra_num_frames=[0]", "extra_num_frames is .*: .* greater than or equal to 1"),
        ("scene.foregrounds=[]", "scene.foregrounds is .*: .* at least 1 item"),
        ("scene.effects.shadow=3", "scene.effects.shadow is 3: .* less than or equal to 1"),
        ("num_clips=[", "not YAML"),
    ],
)
def test_wrong_fields_are_refused_by_name(assignment: str, said: str) -> None:
    with pytest.raises(InvalidRecipe, match=said):
        changed(assignment)


def test_two_assignments_of_one_field_conflict() -> None:
    with pytest.raises(InvalidRecipe, match="num_clips=1 and --set num_clips=2 conflict"):
        changed("num_clips=1", "num_clips=2")


@pytest.mark.parametrize(
    ("assignment", "said"),
    [
        ("sampling_shift=2", "joint.noise.shift is 3.0 and sampling_shift is 2.0"),
        ("joint.lora.rank=4", "joint.lora and joint.loop.muon_scale exclude"),
        ("transformer.width=4", "transformer.width is not a setting"),
        ("transformer.max_foregrounds=1", "scene.foregrounds reach 2"),
        ("transformer.per_stream_timesteps=false", "multi_foreground.noise.synchronous is 0.4"),
        ("scene.width=100", "scene.width"),
        ("extra_sizes=[[100,64]]", "extra_sizes has 100x64; use multiples of 16"),
        ("fps=0", "fps is 0: Input should be greater than or equal to 0.1"),
        ("extra_num_frames=[0]", "extra_num_frames is .0.: Input should be greater"),
        ("joint_scene.width=100", "joint_scene.width is 100; use multiples of 16"),
        ("vae_size.patch_size=20", "scene.height is 96; use multiples of 40"),
        ("scene.motions=[fly]", "scene.motions has 'fly'; use some of still, right"),
        ("joint_scene.subject_height=[0.6,0.5]", "joint_scene.subject_height is 0.6 to 0.5"),
        ("decoders.levels=[0.6,0.5]", "decoders.levels go from 0.6 to 0.5"),
        ("vae_size.z_dim=32", "transformer.in_channels is 48 and vae_size.z_dim is 32"),
        ("vae_size.encoder_dim=90", "vae_size.encoder_dim is 90 and vae_size.z_dim is 48; use 97"),
        ("transformer.num_layers=many", "transformer.num_layers is 'many': Input should be"),
        ("transformer.num_layers=0", "transformer.num_layers is 0; use 1 or more"),
        ("transformer.patch_size=[1,0,2]", "transformer.patch_size is .*; use 1 or more"),
        ("transformer.prompt_visibility=foo", "prompt_visibility is 'foo', supported: 'released'"),
        ("joint_scene.subject_weights=[[a cow,0]]", "subject_weights has 'a cow': 0"),
        ("joint_scene.subject_weights=[[a crab cake,2]]", "subject_weights has 'a crab cake': 2"),
    ],
)
def test_conflicting_fields_are_refused_by_both_names(assignment: str, said: str) -> None:
    with pytest.raises(InvalidRecipe, match=said):
        check_recipe(changed(assignment))


@pytest.mark.parametrize("name", ["scene.num_frames", "joint_scene.num_frames"])
def test_frames_that_wan_does_not_take_are_refused(name: str) -> None:
    recipe = apply_overrides(wan2_1_1_3b(), read_overrides([], [f"{name}=10"]))

    with pytest.raises(InvalidRecipe, match=f"{name} is 10 and base is wan.*4 k \\+ 1; use 9"):
        check_recipe(recipe)
