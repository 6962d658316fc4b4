import json
from pathlib import Path
from typing import Any

import pytest

from layert2v_backend.errors import ModelDamaged, UnknownModel
from layert2v_backend.models import find_models, read_limits, shipped_folder
from layert2v_training.runs.recipes import tiny_gpu
from layert2v_training.runs.vocabulary import vocabulary_of
from layert2v_words import find_unknown_words
from support.wire_shots import SKETCH_LIMITS, write_sketch_model


def test_a_folder_that_is_a_model_and_one_that_holds_models_are_both_read(tmp_path: Path) -> None:
    write_sketch_model(tmp_path / "sketch")

    for folder in (tmp_path, tmp_path / "sketch"):
        assert find_models([folder]).find("sketch").folder == tmp_path / "sketch"


def test_an_id_of_several_folders_is_refused_and_all_of_them_are_named(tmp_path: Path) -> None:
    write_sketch_model(tmp_path / "a")
    write_sketch_model(tmp_path / "b")

    catalogue = find_models([tmp_path])

    with pytest.raises(ModelDamaged, match=r"'sketch' is that of several folders \(a, b\)"):
        catalogue.find("sketch")
    (fault,) = catalogue.faults
    assert str(tmp_path / "a") in fault
    assert str(tmp_path / "b") in fault


def test_a_folder_that_is_named_twice_clashes_with_nothing(tmp_path: Path) -> None:
    write_sketch_model(tmp_path / "a")

    catalogue = find_models([tmp_path, tmp_path / "a", tmp_path])

    assert catalogue.find("sketch").folder == tmp_path / "a"
    assert not catalogue.faults


def test_a_shipped_model_keeps_its_id(tmp_path: Path) -> None:
    description = json.dumps(SKETCH_LIMITS | {"id": "tiny"})
    (write_sketch_model(tmp_path / "mine") / "layert2v.json").write_text(description)

    catalogue = find_models([tmp_path])

    assert catalogue.find("tiny").folder == shipped_folder() / "tiny"
    (fault,) = catalogue.faults
    assert "is the shipped model's and refused" in fault
    assert str(tmp_path / "mine") in fault


@pytest.mark.parametrize(
    ("prepare", "words"),
    [
        (lambda folder: None, "it is missing"),
        (lambda folder: folder.write_text("dear all"), "it is no folder"),
        (lambda folder: folder.mkdir(), "is not a model and holds none"),
        (lambda folder: (folder / "half").mkdir(parents=True), "is not a model and holds none"),
        (lambda folder: (folder / "half/transformer").mkdir(parents=True), "it is missing"),
    ],
)
def test_a_broken_folder_is_named_with_its_fault(tmp_path: Path, prepare: Any, words: str) -> None:
    prepare(tmp_path / "models")

    (fault,) = find_models([tmp_path / "models"]).faults

    assert str(tmp_path / "models") in fault
    assert words in fault


@pytest.mark.parametrize("model_id", ["", "a b", "../x", "\u202ex", "x\n", "x" * 64, "-x"])
def test_an_id_that_cannot_be_named_everywhere_is_damaged(tmp_path: Path, model_id: str) -> None:
    (tmp_path / "layert2v.json").write_text(json.dumps(SKETCH_LIMITS | {"id": model_id}))

    with pytest.raises(ModelDamaged, match="`id` is wrong"):
        read_limits(tmp_path)


def test_what_clients_are_told_of_a_damaged_model_names_no_path(tmp_path: Path) -> None:
    (tmp_path / "layert2v.json").mkdir()

    with pytest.raises(ModelDamaged) as caught:
        read_limits(tmp_path)

    assert "it is a folder" in caught.value.message
    assert str(tmp_path) not in caught.value.message
    assert "Errno" not in caught.value.message


def test_a_folder_without_models_adds_none(tmp_path: Path) -> None:
    (tmp_path / "photos").mkdir()

    assert find_models([tmp_path, tmp_path / "missing"]).models == find_models().models


def test_an_unknown_model_is_refused_with_the_known_ones(tmp_path: Path) -> None:
    write_sketch_model(tmp_path)

    with pytest.raises(UnknownModel, match=r"'sora', known are .*sketch"):
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


@pytest.mark.parametrize("text", ["", "{", "[]", "\x00", "[" * 100_000])
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
