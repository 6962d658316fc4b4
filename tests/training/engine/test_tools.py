from pathlib import Path

import pytest

from layert2v_training.engine import tools
from layert2v_training.engine.moving_subjects import first_seen, unseen
from layert2v_training.engine.protocols import ToolUnavailable
from layert2v_training.engine.recipe import Captioner, EngineRecipe, Matter, Plates
from layert2v_training.engine.tools import (
    check_tools,
    load_captioner,
    load_matter,
    weights_of,
)


@pytest.mark.parametrize("matter", [Matter.SAM2, Matter.SAM3, Matter.MATANYONE])
def test_weights_that_are_not_there_are_refused_with_what_to_give(
    matter: Matter, tmp_path: Path
) -> None:
    recipe = EngineRecipe(mattes=matter, weights=((matter.value, str(tmp_path)),))

    with pytest.raises(ToolUnavailable, match=f"holds none: give --weights {matter}=FOLDER"):
        load_matter(recipe)


def test_a_missing_package_is_refused_by_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "config.json").write_text("{}")
    monkeypatch.setattr(tools, "find_spec", lambda name: None)

    with pytest.raises(ToolUnavailable, match="qwen-vl needs the package torchvision"):
        weights_of(EngineRecipe(weights=(("qwen-vl", str(tmp_path)),)), "qwen-vl")


def test_a_missing_package_of_an_adapter_is_refused_with_how_to_bring_it(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text("{}")
    recipe = EngineRecipe(mattes=Matter.MATANYONE, weights=(("matanyone", str(tmp_path)),))

    with pytest.raises(ToolUnavailable, match=r"needs the package matanyone: pip install git\+"):
        load_matter(recipe)


@pytest.mark.parametrize(("recipe", "stage"), [
    (EngineRecipe(captions=Captioner.QWEN_VL), "qwen-vl"),
    (EngineRecipe(plates=Plates.WAN_VACE), "wan-vace"),
    (EngineRecipe(mattes=Matter.SAM2), "sam2"),
])  # fmt: skip
def test_every_chosen_stage_is_checked_before_work(recipe: EngineRecipe, stage: str) -> None:
    with pytest.raises(ToolUnavailable, match=f"{stage} needs its weights"):
        check_tools(recipe)


def test_a_folder_that_only_describes_a_model_holds_no_weights(tmp_path: Path) -> None:
    (tmp_path / "model_index.json").write_text("{}")
    recipe = EngineRecipe(plates=Plates.WAN_VACE, weights=(("wan-vace", str(tmp_path)),))

    with pytest.raises(ToolUnavailable, match="holds none"):
        check_tools(recipe)


def test_a_caption_model_is_loaded_once_for_all_videos(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "config.json").write_text("{}")
    (tmp_path / "model.safetensors").write_bytes(b"")
    monkeypatch.setattr(tools, "find_spec", lambda name: name)
    monkeypatch.setattr("layert2v_training.engine.qwen_vl.QwenVlCaptioner", lambda weights: [])
    recipe = EngineRecipe(captions=Captioner.QWEN_VL, weights=(("qwen-vl", str(tmp_path)),))

    one, two = (load_captioner(recipe, tmp_path / name) for name in ("a.mp4", "b.mp4"))

    assert one is two


def test_frames_without_a_box_are_known() -> None:
    box = (0, 0, 4, 4)

    assert first_seen([None, box, None, box]) == 1
    assert first_seen([None, None]) is None
    assert unseen([None, box, None]).tolist() == [True, False, True]
