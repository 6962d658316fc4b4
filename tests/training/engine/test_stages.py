from pathlib import Path

import pytest

from layert2v_training.engine import stages
from layert2v_training.engine.recipe import EngineRecipe, Matter
from layert2v_training.engine.stages import StageUnavailable, load_matter, weights_of
from layert2v_training.engine.subjects import first_seen, unseen


@pytest.mark.parametrize("matter", [Matter.SAM2, Matter.SAM3, Matter.MATANYONE])
def test_weights_that_are_not_there_are_refused_with_what_to_give(
    matter: Matter, tmp_path: Path
) -> None:
    recipe = EngineRecipe(mattes=matter, weights=((matter.value, str(tmp_path)),))

    with pytest.raises(StageUnavailable, match=f"holds none: give --weights {matter}=FOLDER"):
        load_matter(recipe)


def test_a_missing_package_is_refused_by_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "config.json").write_text("{}")
    monkeypatch.setattr(stages, "find_spec", lambda name: None)

    with pytest.raises(StageUnavailable, match="qwen-vl needs the package torchvision"):
        weights_of(EngineRecipe(weights=(("qwen-vl", str(tmp_path)),)), "qwen-vl")


def test_a_missing_package_of_an_adapter_is_refused_with_how_to_bring_it(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text("{}")
    recipe = EngineRecipe(mattes=Matter.MATANYONE, weights=(("matanyone", str(tmp_path)),))

    with pytest.raises(StageUnavailable, match=r"needs the package matanyone: pip install git\+"):
        load_matter(recipe)


def test_frames_without_a_box_are_known() -> None:
    box = (0, 0, 4, 4)

    assert first_seen([None, box, None, box]) == 1
    assert first_seen([None, None]) is None
    assert unseen([None, box, None]).tolist() == [True, False, True]
