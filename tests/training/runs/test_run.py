import json
from dataclasses import replace
from pathlib import Path

import numpy as np

from layert2v_training.data.sources import FileClips
from layert2v_training.runs.model_export import model_card
from layert2v_training.runs.recipes import RECIPES, debug
from layert2v_training.runs.run import JOINT_RUN, STAGE_SEEDS, Run
from layert2v_training.scenes.composing import SceneSource
from support import toy_clips


def test_a_run_resamples_footage_to_the_rate_of_its_recipe(tmp_path: Path) -> None:
    frames = np.concatenate([toy_clips.flat((8 * t,) * 3, 1) for t in range(27)])
    rgba = np.concatenate([frames, toy_clips.square_matte(27)[..., None]], -1)
    for name, pixels in (("background", frames), ("spot", rgba)):
        toy_clips.write_movie(tmp_path / f"{name}.mkv", pixels, "ffv1", fps=24)
    (tmp_path / "clip.txt").write_text("background: a\nspot: b\n")
    eight, twelve = (
        Run(replace(debug(), fps=fps), tmp_path, tmp_path, data=tmp_path).clips("joint")
        for fps in (8.0, 12.0)
    )

    steps = [np.diff(s.clip(0).background_THWC[:, 0, 0, 0] * 255) for s in (eight, twelve)]

    np.testing.assert_allclose(steps[0], 24, atol=0.01)
    np.testing.assert_allclose(steps[1], 16, atol=0.01)
    assert eight.key != twelve.key


def test_a_run_composes_a_fifth_as_many_clips_of_each_further_size_and_length(
    assets: Path, tmp_path: Path
) -> None:
    recipe = replace(debug(), num_clips=50, extra_sizes=((64, 48),), extra_num_frames=(3,))
    run = Run(recipe, assets, tmp_path)

    shapes = {
        run.clips("joint", shape).clip(0).full_THWC.shape[:3]: count
        for shape, count in run.clips_per_shape.items()
    }

    assert shapes == {(9, 64, 96): 50, (3, 64, 96): 10, (9, 48, 64): 10, (3, 48, 64): 10}
    assert model_card(recipe)["num_frames"] == [9, 3]


def write_crabs(folder: Path, count: int, num_frames: int = 9) -> Path:
    """Write `count` clips of a square, `num_frames` long at 8 fps; return the folder."""
    frames = toy_clips.flat((10, 20, 200), num_frames)
    rgba = np.concatenate([frames, toy_clips.square_matte(num_frames)[..., None]], -1)
    for number in range(count):
        clip = folder / f"clip_{number}"
        clip.mkdir(parents=True)
        for name, pixels in (("background", frames), ("crab", rgba)):
            toy_clips.write_movie(clip / f"{name}.mkv", pixels, "ffv1", fps=8)
        (clip / "clip.txt").write_text("background: a sea\ncrab: a crab\n")
    return folder


def test_composed_clips_stand_beside_the_users_own(assets: Path, tmp_path: Path) -> None:
    data = write_crabs(tmp_path / "clips", 1)
    recipe = replace(debug(), num_composed_clips=3, extra_num_frames=(5,))
    run = Run(recipe, assets, tmp_path / "run", data=data)

    found = [(type(clips), clips.clip(0).full_THWC.shape, n) for clips, n in run.sources("joint")]

    assert found == [
        (FileClips, (9, 64, 96, 3), 1),
        (FileClips, (5, 64, 96, 3), 1),
        (SceneSource, (9, 64, 96, 3), 3),
    ]


def test_the_users_own_clips_are_counted_once_each_or_once_for_each_start(
    assets: Path, tmp_path: Path
) -> None:
    data = write_crabs(tmp_path / "clips", 6)
    recipe = replace(debug(), num_clips=3000, extra_num_frames=(5,))

    once, thrice = (
        Run(replace(recipe, starts_per_clip=starts), assets, tmp_path, data=data)
        for starts in (1, 3)
    )

    assert [count for _, count in once.sources("joint")] == [6, 2]
    assert [count for _, count in thrice.sources("joint")] == [18, 4]
    assert (once.num_alpha_clips, thrice.num_alpha_clips) == (6, 18)


def test_a_run_is_bound_to_the_number_of_the_users_own_clips(assets: Path, tmp_path: Path) -> None:
    data = write_crabs(tmp_path / "clips", 2)
    run = Run(debug(), assets, tmp_path / "run", data=data)

    run.bind(JOINT_RUN, "joint")
    run.bind("run-alpha-vae", "alpha-vae")

    bound = {
        name: json.loads((tmp_path / "run" / name / "run.json").read_text())["values"]
        for name in (JOINT_RUN, "run-alpha-vae")
    }
    assert bound[JOINT_RUN]["num_clips"] == 2
    assert bound["run-alpha-vae"]["alpha_vae.num_clips"] == 2


def test_stage_3_composes_the_numbers_of_foregrounds_and_the_seed_of_the_recipe(
    tmp_path: Path,
) -> None:
    scene = replace(debug().joint_scene, foregrounds=(2,), seed=100)
    run = Run(replace(debug(), joint_scene=scene), tmp_path, tmp_path)

    assert run.scene("joint").foregrounds == (1,)
    assert run.scene("multi-foreground").foregrounds == (2,)
    assert run.scene("decoders").foregrounds == (2,)
    assert [run.scene(stage).seed for stage in STAGE_SEEDS] == [111, 112, 21, 131, 141]


def test_the_wan_recipes_compare_what_is_composited_and_give_regions() -> None:
    for name, make in RECIPES.items():
        recipe = make()
        is_wan = recipe.base == "wan"
        assert (recipe.alpha_vae.render_weight > 0) == is_wan, name
        assert (recipe.joint.decoded.composite > 0) == is_wan, name
        assert recipe.multi_foreground.noise.given_regions > 0, name
