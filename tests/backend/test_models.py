import json
from pathlib import Path
from typing import Any

import pytest

from layert2v_backend.errors import ModelDamaged, UnknownModel
from layert2v_backend.models import find_models, read_limits, shipped_folder
from layert2v_training.recipes import tiny_gpu
from layert2v_training.vocabulary import vocabulary_of
from layert2v_words import find_unknown_words
from support.wire_shots import SKETCH_LIMITS, write_sketch_model


def test_a_folder_that_is_a_model_and_one_that_holds_models_are_both_read(tmp_path: Path) -> None:
    write_sketch_model(tmp_path / "sketch")

    for folder in (tmp_path, tmp_path / "sketch"):
        assert find_models([folder]).find("sketch").folder == tmp_path / "sketch"


def test_the_first_model_of_an_id_wins(tmp_path: Path) -> None:
    write_sketch_model(tmp_path / "a")
    write_sketch_model(tmp_path / "b")

    catalogue = find_models([tmp_path, tmp_path])

    assert catalogue.find("sketch").folder == tmp_path / "a"
    assert list(catalogue.damaged) == ["b"]
    assert "calls itself 'sketch'" in catalogue.damaged["b"]


def test_a_folder_without_models_adds_none(tmp_path: Path) -> None:
    (tmp_path / "photos").mkdir()

    assert find_models([tmp_path, tmp_path / "missing"]).models == find_models().models


def test_an_unknown_model_is_refused_with_the_known_ones(tmp_path: Path) -> None:
    write_sketch_model(tmp_path)

    with pytest.raises(UnknownModel, match=r"'sora': known are .*sketch"):
        find_models([tmp_path]).find("sora")


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"sizes": []}, "sizes"),
        ({"sizes": [[0, 64]]}, "sizes.0.0"),
        ({"num_frames": "many"}, "num_frames"),
        ({"max_foregrounds": 0}, "max_foregrounds"),
        ({"default_num_inference_steps": 900}, "default_num_inference_steps"),
        ({"fps": None}, "fps"),
        ({"vocabulary": ["a fox"]}, "vocabulary"),
        ({"vocabulary": {"foregrounds": ["a fox"]}}, "vocabulary.backgrounds"),
        ({"vocabulary": {"foregrounds": "a fox", "backgrounds": []}}, "vocabulary.foregrounds"),
    ],
)
def test_a_damaged_description_names_its_field(
    tmp_path: Path, change: dict[str, Any], words: str
) -> None:
    (tmp_path / "layert2v.json").write_text(json.dumps(SKETCH_LIMITS | change))

    with pytest.raises(ModelDamaged, match=words):
        read_limits(tmp_path)


@pytest.mark.parametrize("text", ["", "{", "[]", "\x00"])
def test_a_description_that_is_no_json_is_damaged(tmp_path: Path, text: str) -> None:
    (tmp_path / "layert2v.json").write_text(text)

    with pytest.raises(ModelDamaged, match="install the model again"):
        read_limits(tmp_path)


def test_a_damaged_model_hides_no_other(tmp_path: Path) -> None:
    write_sketch_model(tmp_path / "sketch")
    (tmp_path / "broken").mkdir()
    (tmp_path / "broken" / "layert2v.json").write_text("{")

    catalogue = find_models([tmp_path])

    assert catalogue.find("sketch")
    with pytest.raises(ModelDamaged):
        catalogue.find("broken")


def test_the_shipped_models_are_beside_the_model_code() -> None:
    assert (shipped_folder() / "stack.py").is_file()


def test_the_shipped_model_says_the_words_it_was_trained_on() -> None:
    vocabulary = find_models().find("tiny").limits.vocabulary

    assert vocabulary == vocabulary_of(tiny_gpu().joint_scene)
    assert (len(vocabulary.foregrounds), len(vocabulary.backgrounds)) == (40, 24)
    assert find_unknown_words(vocabulary, "tiny", 1, "a fox moving to the right") is None


def test_a_model_may_say_nothing_of_its_words(tmp_path: Path) -> None:
    assert read_limits(write_sketch_model(tmp_path)).vocabulary is None
