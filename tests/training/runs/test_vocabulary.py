import json
from dataclasses import replace
from pathlib import Path

import pytest

from layert2v_training.runs.recipes import RECIPES, debug, tiny, tiny_gpu, wan2_1_1_3b
from layert2v_training.runs.run_binding import RunDiffers, bind, values_of
from layert2v_training.runs.vocabulary import vocabulary_entry, vocabulary_of
from layert2v_training.scenes.composing import SceneSource
from layert2v_training.scenes.subjects import HELD_OUT_BACKGROUNDS, SUBJECTS, Variety
from layert2v_words import find_unknown_words


def bind_stages(out: Path, **data: str | None) -> Path:
    for stage, clips in data.items():
        name = f"run-{stage.replace('_', '-')}"
        bind(out / name, values_of(name, debug(), data=clips))
    return out


@pytest.mark.parametrize("variety", list(Variety))
def test_every_caption_of_a_recipes_scenes_is_known(assets: Path, variety: Variety) -> None:
    scene = replace(tiny_gpu().joint_scene, variety=variety, width=32, height=32, num_frames=1)
    vocabulary, source = vocabulary_of(scene), SceneSource(assets, scene)

    for index in range(20):
        clip = source.clip(index)
        captions = [
            clip.background_caption,
            *(foreground.caption for foreground in clip.foregrounds),
        ]
        for layer, caption in enumerate(captions):
            assert find_unknown_words(vocabulary, "x", layer, caption) is None, caption


def test_photographs_that_training_never_shows_are_not_known() -> None:
    scene = replace(tiny().joint_scene, variety=Variety.ALL)

    vocabulary = vocabulary_of(scene)

    assert set(vocabulary.foregrounds) == set(SUBJECTS.values())
    assert not set(vocabulary.backgrounds) & set(HELD_OUT_BACKGROUNDS)


def test_only_the_motions_that_scenes_have_are_known() -> None:
    scene = replace(tiny().joint_scene, motions=("still",))

    assert vocabulary_of(scene).motions == ("standing still", "staying in place")
    assert "entering from the left" not in vocabulary_of(tiny().joint_scene).motions
    assert "entering from the left" in vocabulary_of(tiny_gpu().joint_scene).motions


def test_a_model_of_composed_scenes_carries_its_words_in_its_card(tmp_path: Path) -> None:
    out = bind_stages(tmp_path, joint=None, multi_foreground=None)

    entry = json.loads(json.dumps(vocabulary_entry(debug(), out)))

    assert entry["vocabulary"]["foregrounds"][:2] == ["an airplane", "a bear"]


@pytest.mark.parametrize(
    "data",
    [
        {"joint": "clips (1)", "multi_foreground": None},
        {"joint": None, "multi_foreground": "clips (1)"},
        {"multi_foreground": "clips (1)"},
        {},
    ],
)
def test_of_what_a_model_learned_from_clips_of_ones_own_nothing_is_said(
    tmp_path: Path, data: dict[str, str | None]
) -> None:
    assert vocabulary_entry(debug(), bind_stages(tmp_path, **data)) == {}


def test_models_on_wan_know_any_word(tmp_path: Path) -> None:
    out = bind_stages(tmp_path, joint=None, multi_foreground=None)

    assert vocabulary_entry(wan2_1_1_3b(), out) == {}
    assert [name for name, make in RECIPES.items() if vocabulary_entry(make(), out)] == [
        "tiny",
        "tiny-gpu",
        "debug",
    ]


def test_a_run_that_cannot_be_read_is_told(tmp_path: Path) -> None:
    bind_stages(tmp_path, joint=None)
    (tmp_path / "run-joint" / "run.json").write_text("{")

    with pytest.raises(RunDiffers, match="cannot be read"):
        vocabulary_entry(debug(), tmp_path)
