import json
import shutil
from pathlib import Path

import pytest

from layert2v_training.evaluation import evaluate as evaluation
from layert2v_training.evaluation.options import Options, check_evaluation
from layert2v_training.evaluation.prompts import BadInput
from support.evaluating import LINE, refusal_of, write_prompts, write_shots
from support.layer_folders import write_stack
from support.layered_scenes import make_scene


def test_a_source_that_is_not_there_is_refused(tmp_path: Path) -> None:
    assert "is not a folder" in refusal_of(tmp_path / "nothing", tmp_path / "out")


def test_an_empty_folder_is_refused(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()

    assert "holds no shot and is no model" in refusal_of(tmp_path / "empty", tmp_path / "out")


def test_a_damaged_model_is_refused(prompts: Path, tmp_path: Path) -> None:
    broken = tmp_path / "broken"
    broken.mkdir()
    (broken / "layert2v.json").write_text("{}")

    assert "damaged" in refusal_of(broken, tmp_path / "out", "--prompts", prompts)


@pytest.mark.parametrize(
    ("option", "reason"),
    [
        ("other", "is not NAME=FOLDER"),
        ("other=/nowhere", "is not a folder"),
        ("copy of ground truth=.", "choose another name"),
    ],
)
def test_what_cannot_stand_beside_is_refused(tmp_path: Path, option: str, reason: str) -> None:
    shots = write_shots(tmp_path, first=make_scene(1, 1, 48, 72))

    assert reason in refusal_of(shots, tmp_path / "out", "--beside", option)


def test_all_shots_without_a_layer_are_named_before_any_is_measured(tmp_path: Path) -> None:
    scene = make_scene(1, 1, 48, 72)
    shots = write_shots(tmp_path, good=scene, no_full=scene, no_matte=scene)
    shutil.rmtree(shots / "no_full" / "full")
    shutil.rmtree(shots / "no_matte" / "matte")

    refusal = refusal_of(shots, tmp_path / "out")

    assert "shot no_full: full is missing" in refusal
    assert "shot no_matte: matte is missing" in refusal
    assert "--skip-bad" in refusal


def test_frames_that_the_model_does_not_make_are_refused(
    model: Path, prompts: Path, tmp_path: Path
) -> None:
    asked = ("--prompts", prompts, "--frames", "7")

    assert "does not make 7 frames: choose" in refusal_of(model, tmp_path / "out", *asked)


def test_layers_of_different_sizes_are_refused_with_both(tmp_path: Path) -> None:
    shots = write_shots(tmp_path, first=make_scene(1, 2, 48, 72))
    other = write_stack(tmp_path / "other", make_scene(1, 2, 32, 48))
    (shots / "first" / "matte").rename(tmp_path / "unused")
    (other / "matte").rename(shots / "first" / "matte")

    assert "matte is 48 x 32 but full is 72 x 48" in refusal_of(shots, tmp_path / "out")


def test_a_truth_of_another_size_is_refused(tmp_path: Path) -> None:
    shots = write_shots(tmp_path, first=make_scene(1, 2, 48, 72))
    truth = tmp_path / "truth"
    write_stack(truth / "first", make_scene(2, 2, 48, 72))

    assert "2 foregrounds" in refusal_of(shots, tmp_path / "out", "--truth", truth)


def test_prompts_that_do_not_fit_the_folders_are_refused(tmp_path: Path, prompts: Path) -> None:
    shots = write_shots(tmp_path, first=make_scene(1, 2, 48, 72))

    assert "2 lines of prompts for 1 shots" in refusal_of(
        shots, tmp_path / "out", "--prompts", prompts
    )


def test_a_model_without_prompts_is_refused(model: Path, tmp_path: Path) -> None:
    assert "--prompts or by --held-out" in refusal_of(model, tmp_path / "out")


def test_more_foregrounds_than_the_model_makes_are_refused_before_any_shot(
    model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(evaluation, "generate", lambda *_: pytest.fail("a shot was made"))
    path = write_prompts(tmp_path, LINE, {**LINE, "foregrounds": ["a fox"] * 4})

    assert "shot 2: 4 foregrounds" in refusal_of(model, tmp_path / "out", "--prompts", path)


def test_vbench_is_refused_where_it_is_not_installed(tmp_path: Path) -> None:
    shots = write_shots(tmp_path, first=make_scene(1, 2, 48, 72))

    options = ("--vbench", "aesthetic_quality")
    assert "pip install vbench" in refusal_of(shots, tmp_path / "out", *options)
    assert "beauty is none of" in refusal_of(shots, tmp_path / "out", "--vbench", "beauty")


@pytest.mark.parametrize(
    "option",
    [
        ("--regenerate", "2"),
        ("--given", "full"),
        ("--given-scenes", "1"),
        ("--steps", "4"),
        ("--guidance", "2"),
        ("--takes", "takes"),
        ("--precision", "float32"),
    ],
)
def test_what_only_a_model_is_asked_for_is_refused_for_folders(
    tmp_path: Path, option: tuple[str, str]
) -> None:
    shots = write_shots(tmp_path, first=make_scene(1, 1, 48, 72))

    assert f"{option[0]} is for models" in refusal_of(shots, tmp_path / "out", *option)


def test_given_streams_without_held_out_scenes_are_refused(
    model: Path, prompts: Path, tmp_path: Path
) -> None:
    for option in (("--given", "full"), ("--given-scenes", "2")):
        refusal = refusal_of(model, tmp_path / "out", "--prompts", prompts, *option)

        assert f"{option[0]} is for held-out scenes" in refusal


@pytest.mark.parametrize(("name", "value"), [("sizes", [[48, 48]]), ("num_frames", [3])])
def test_a_model_that_does_not_make_the_runs_shots_cannot_stand_beside(
    model: Path, prompts: Path, tmp_path: Path, name: str, value: list[object]
) -> None:
    other = shutil.copytree(model, tmp_path / "other")
    card = json.loads((other / "layert2v.json").read_text())
    (other / "layert2v.json").write_text(json.dumps({**card, name: value}))

    options = ("--prompts", prompts, "--beside", f"it={other}")

    assert "--beside it makes other shots than the run's" in refusal_of(
        model, tmp_path / "out", *options
    )


def test_a_model_beside_shots_of_another_size_is_refused(model: Path, tmp_path: Path) -> None:
    shots = write_shots(tmp_path, first=make_scene(1, 2, 48, 72))
    words = write_prompts(tmp_path, LINE)

    options = ("--prompts", words, "--beside", f"it={model}")

    assert "does not make 72x48" in refusal_of(shots, tmp_path / "out", *options)


def test_layers_of_another_size_cannot_stand_beside(tmp_path: Path) -> None:
    shots = write_shots(tmp_path / "own", first=make_scene(1, 2, 48, 72))
    others = write_shots(tmp_path / "others", first=make_scene(1, 2, 48, 64))

    said = refusal_of(shots, tmp_path / "out", "--beside", f"it={others}")

    assert "--beside it shows other shots than the run's: they are 64x48 with 2 frames" in said
    assert "the run's are 72x48 with 2 frames" in said


def test_a_folder_of_pictures_that_is_named_wrong_is_refused_and_not_filled(tmp_path: Path) -> None:
    (tmp_path / "model").mkdir()
    (tmp_path / "model" / "layert2v.json").write_text("{}")
    typo = tmp_path / "typo"
    options = Options(tmp_path / "model", tmp_path / "out", held_out=1, assets=typo)

    with pytest.raises(BadInput, match=r"holds no manifest.json: .* `layert2v-data assets .*typo`"):
        check_evaluation(options)

    assert not typo.exists()
    assert not (tmp_path / "out").exists()
