import hashlib
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from layert2v_training.runs.recipes import tiny
from layert2v_training.scenes.composing import SceneSource
from layert2v_training.scenes.effects import LayerEffects, SceneEffects, passing_x, side_by_side
from layert2v_training.scenes.scene_recipe import SceneRecipe

SMALL = SceneRecipe(48, 32, 5, (2,), seed=4)


def test_effects_that_are_off_change_no_pixel_and_no_word(assets: Path) -> None:
    plain = SceneSource(assets, SMALL).clip(2)

    same = SceneSource(assets, replace(SMALL, effects=SceneEffects())).clip(2)

    np.testing.assert_array_equal(plain.full_THWC, same.full_THWC)
    assert [f.caption for f in plain.foregrounds] == [f.caption for f in same.foregrounds]


def test_the_cached_latents_of_the_tiny_recipe_stay_valid_while_its_pictures_do(
    assets: Path,
) -> None:
    scene = replace(tiny().joint_scene, foregrounds=(1, 2, 2, 3), seed=12)

    key = SceneSource(assets, scene).key

    digest = hashlib.sha256(key.encode()).hexdigest()
    assert digest == "e0be6ebdfb6afac36c33e9e032021d1e88e92a7e4c2d25161e68df2547a8da1f"


def test_effects_are_part_of_the_key(assets: Path) -> None:
    shadows = replace(SMALL, effects=SceneEffects(shadow=1.0))

    assert SceneSource(assets, SMALL).key != SceneSource(assets, shadows).key


@pytest.mark.parametrize("effect", ["shadow", "soft_edge", "see_through", "motion_blur"])
def test_an_effect_changes_the_layer_and_leaves_the_background(assets: Path, effect: str) -> None:
    plain = SceneSource(assets, SMALL).clip(1)

    clip = SceneSource(assets, replace(SMALL, effects=SceneEffects(**{effect: 1.0}))).clip(1)

    np.testing.assert_array_equal(plain.background_THWC, clip.background_THWC)
    assert not np.array_equal(plain.foregrounds[0].alpha_THW, clip.foregrounds[0].alpha_THW)
    for layer in clip.foregrounds:
        assert layer.alpha_THW.min() >= 0
        assert layer.alpha_THW.max() <= 1 + 1e-6


def test_a_see_through_layer_is_nowhere_opaque(assets: Path) -> None:
    source = SceneSource(assets, replace(SMALL, effects=SceneEffects(see_through=1.0)))

    assert source.clip(0).foregrounds[0].alpha_THW.max() < 0.85


def test_a_passing_subject_is_outside_at_one_end(assets: Path) -> None:
    recipe = replace(SMALL, foregrounds=(1,), effects=SceneEffects(passing=1.0))
    clip = SceneSource(assets, recipe).clip(3)

    cover_T = clip.foregrounds[0].alpha_THW.sum((1, 2))

    assert cover_T.min() < 0.1 * cover_T.max()


def test_captions_always_say_that_a_subject_enters_or_leaves(assets: Path) -> None:
    recipe = replace(SMALL, foregrounds=(1,), effects=SceneEffects(passing=1.0))
    source = SceneSource(assets, recipe)

    captions = [source.clip(index).foregrounds[0].caption for index in range(12)]

    assert all("entering from" in said or "leaving to" in said for said in captions)


@pytest.mark.parametrize(("passes", "motion", "first", "last"), [
    ("enters", "right", -5, 20), ("enters", "left", 45, 20),
    ("leaves", "right", 20, 45), ("leaves", "left", 20, -5),
])  # fmt: skip
def test_passing_starts_or_ends_beyond_the_border(
    passes: str, motion: str, first: float, last: float
) -> None:
    ends = [passing_x(passes, motion, 20, 5, 40, phase) for phase in (-0.5, 0.5)]

    assert ends == [first, last]


def test_several_subjects_share_a_layer_and_its_caption(assets: Path) -> None:
    recipe = replace(SMALL, foregrounds=(1,), effects=SceneEffects(several=1.0))

    assert " and " in SceneSource(assets, recipe).clip(0).foregrounds[0].caption


def test_occluding_foregrounds_overlap(assets: Path) -> None:
    recipe = replace(SMALL, effects=SceneEffects(occlusion=1.0))

    front, back = (f.alpha_THW for f in SceneSource(assets, recipe).clip(0).foregrounds)

    assert (front * back).sum() > 0.1 * back.sum()


def test_a_longer_pan_moves_the_background_more(assets: Path) -> None:
    def moved(recipe: SceneRecipe) -> float:
        shots = [SceneSource(assets, recipe).clip(index).background_THWC for index in range(6)]
        return float(np.mean([np.abs(shot[-1] - shot[0]).mean() for shot in shots]))

    assert moved(replace(SMALL, effects=SceneEffects(pan=3.0))) > 1.5 * moved(SMALL)


def test_motion_blur_spreads_what_moves() -> None:
    def draw(phase: float) -> np.ndarray:
        picture = np.zeros((4, 20, 4), np.float32)
        picture[:, 8 + round(10 * phase)] = 1
        return picture

    blurred = LayerEffects(shutter=1.0).frame(draw, 0.0, 0.5)

    assert (blurred[0, :, 3] > 0).sum() >= 4
    assert blurred[0, :, 3].sum() == pytest.approx(1)


def test_sprites_side_by_side_stand_on_one_line() -> None:
    pair = side_by_side(np.ones((4, 3, 4), np.float32), np.ones((2, 5, 4), np.float32))

    assert pair.shape == (4, 8, 4)
    assert pair[:2, 3:].sum() == 0
    assert pair[2:].all()
