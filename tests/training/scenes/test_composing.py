from pathlib import Path

import numpy as np
import pytest

from layert2v_training.scenes.composing import SceneSource
from layert2v_training.scenes.scene_recipe import SceneRecipe
from layert2v_training.scenes.subjects import (
    CORE_SUBJECTS,
    HELD_OUT_BACKGROUNDS,
    Variety,
    is_held_out,
)

SMALL = SceneRecipe(48, 32, 5, (1, 2, 3), seed=4)


def test_layers_flatten_to_the_full_video_exactly(assets: Path) -> None:
    clip = SceneSource(assets, SMALL).clip(3)

    flat = clip.background_THWC
    for layer in clip.foregrounds:
        alpha = layer.alpha_THW[..., None]
        flat = layer.rgb_THWC * alpha + flat * (1 - alpha)

    np.testing.assert_array_equal(flat, clip.full_THWC)


def test_a_clip_depends_on_seed_and_index_only(assets: Path) -> None:
    source = SceneSource(assets, SMALL)
    for index in (7, 1, 2):
        source.clip(index)

    again = SceneSource(assets, SMALL).clip(7)

    np.testing.assert_array_equal(source.clip(7).full_THWC, again.full_THWC)
    assert not np.array_equal(source.clip(7).full_THWC, source.clip(8).full_THWC)


def test_training_clips_never_show_held_out_pairs_or_photographs(assets: Path) -> None:
    source = SceneSource(assets, SMALL)

    for index in range(40):
        clip = source.clip(index)
        scenery = clip.background_caption.split(", the camera")[0]
        assert scenery not in HELD_OUT_BACKGROUNDS
        for layer in clip.foregrounds:
            subject = next(s for s in source._subjects if layer.caption.startswith(s))
            assert not is_held_out(subject, scenery)


def test_held_out_clips_show_held_out_pairs_only(assets: Path) -> None:
    source = SceneSource(assets, SceneRecipe(48, 32, 5, (1,), is_held_out=True))

    for index in range(20):
        clip = source.clip(index)
        scenery = clip.background_caption.split(", the camera")[0]
        caption = clip.foregrounds[0].caption
        assert any(is_held_out(s, scenery) for s in source._subjects if caption.startswith(s))


def test_pixels_are_in_range_and_mattes_are_soft_and_not_empty(assets: Path) -> None:
    clip = SceneSource(assets, SMALL).clip(0)

    for layer in clip.foregrounds:
        assert layer.alpha_THW.min() >= 0
        assert layer.alpha_THW.max() == pytest.approx(1, abs=0.01)
        assert ((layer.alpha_THW > 0.05) & (layer.alpha_THW < 0.95)).any()
        assert layer.rgb_THWC.min() >= 0
        assert layer.rgb_THWC.max() <= 1


def test_colour_is_straight_and_extended_beyond_the_matte(assets: Path) -> None:
    layer = SceneSource(assets, SMALL).clip(5).foregrounds[0]

    inside = layer.rgb_THWC[layer.alpha_THW > 0.9].mean(0)
    edge = layer.rgb_THWC[(layer.alpha_THW > 0.1) & (layer.alpha_THW < 0.5)].mean(0)

    np.testing.assert_allclose(edge, inside, atol=0.06)


def test_a_recipe_limits_motions_heights_and_centres(assets: Path) -> None:
    recipe = SceneRecipe(
        48, 32, 5, (1,), motions=("still",), subject_height=(0.5, 0.5), subject_centre=(0.5, 0.5)
    )
    source = SceneSource(assets, recipe)

    for index in range(5):
        alpha_THW = source.clip(index).foregrounds[0].alpha_THW
        rows = np.flatnonzero(alpha_THW[0].max(1) > 0.5)
        np.testing.assert_array_equal(alpha_THW[0], alpha_THW[-1])
        assert rows.min() >= 8
        assert rows.max() < 24


def test_unseen_photographs_stand_behind_any_choice_of_subjects(assets: Path) -> None:
    recipe = SceneRecipe(32, 32, 2, is_unseen_photograph=True, variety=Variety.CORE)
    clip = SceneSource(assets, recipe).clip(0)

    assert clip.background_caption.split(",")[0] in HELD_OUT_BACKGROUNDS
    assert any(subject in clip.foregrounds[0].caption for subject in CORE_SUBJECTS)


def test_a_weighted_subject_is_chosen_more_often(assets: Path) -> None:
    recipe = SceneRecipe(32, 32, 1, variety=Variety.CORE, subject_weights=(("a cow", 20.0),))

    source = SceneSource(assets, recipe)
    chosen = [source.clip(index).foregrounds[0].caption for index in range(60)]

    # 20 of 39 by weight; without weights 3 of 60.
    assert 20 <= sum("a cow" in caption for caption in chosen) <= 42
