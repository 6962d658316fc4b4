import json
import shutil
import sys
from pathlib import Path

import pytest
import torch
from PIL import Image

from layert2v_model.cost import precision
from layert2v_model.cost.precision import Hardware
from layert2v_model.folders.model_folder import CARD_FILE
from layert2v_training.evaluation.asked_model import evaluation_precision
from layert2v_training.evaluation.measured_shots import Judges, Shot, measure_shots
from layert2v_training.evaluation.metrics.oracle import Oracle
from support.evaluating import LINE, evaluate, report_of, write_prompts, write_shots
from support.layer_folders import write_stack
from support.layered_scenes import faded, make_scene


@pytest.mark.slow
def test_a_model_is_measured_on_prompts_beside_baselines(
    model: Path, prompts: Path, tmp_path: Path
) -> None:
    report = report_of(model, tmp_path / "out", "--prompts", prompts)

    assert [shot["seed"] for shot in report["shots"]] == [3, 4]
    for name in ("recomposition_before", "recomposition_after", "soft_iou", "temporal_flicker"):
        values = [shot["values"][name] for shot in report["shots"]]
        assert report["metrics"][name]["mean"] == pytest.approx(sum(values) / 2)
        assert report["metrics"][name]["worst"] == min(values)
    assert len(report["baselines"]) == 2
    assert report["precision"] == evaluation_precision().name
    assert report["metrics"]["regeneration_kept_change"]["worst"] == 0
    # Every call of the three steps holds the prompt and its absence. A regenerated shot does not
    # count.
    assert report["speed"]["network_calls"] == 6
    assert (tmp_path / "out" / "sheet.png").stat().st_size > 0


@pytest.mark.slow
def test_equal_input_gives_an_equal_report_but_for_speed(
    model: Path, prompts: Path, tmp_path: Path
) -> None:
    first = report_of(model, tmp_path / "one", "--prompts", prompts, "--regenerate", "0")
    again = report_of(model, tmp_path / "two", "--prompts", prompts, "--regenerate", "0")

    for report in (first, again):
        del report["speed"], report["command"]
        report["left_out"] = len(report["left_out"])
    assert first == again


@pytest.mark.slow
def test_held_out_scenes_are_asked_for_and_taken_apart(
    model: Path, assets: Path, tmp_path: Path
) -> None:
    out = tmp_path / "out"

    asked = ("--held-out", "2", "--given-scenes", "1", "--assets", assets, "--no-alignment")
    report = report_of(model, out, *asked)

    assert len(report["shots"]) == 2
    assert len(report["given"]["full"]["shots"]) == 1
    assert all("routing" in shot["values"] for shot in report["shots"])
    truth = report["given"]["full"]["baselines"]["copy of ground truth"]
    assert truth["soft_iou"]["worst"] == 1
    assert report["given"]["full"]["metrics"]["given_change"]["worst"] == 0
    assert 0 <= report["given"]["full"]["metrics"]["soft_iou"]["mean"] <= 1
    exact = report["baselines"]["copy of ground truth"]
    assert 0 < exact["spill"]["mean"] < 0.2
    data = exact["temporal_flicker"]["mean"]
    assert report["against_data"]["temporal_flicker"]["data"] == data


@pytest.mark.parametrize(("has", "name"), [(True, "bfloat16"), (False, "float32")])
def test_the_first_line_says_in_which_precision_a_model_computes_and_why(
    model: Path,
    prompts: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    has: bool,
    name: str,
) -> None:
    monkeypatch.setattr(
        precision, "find_hardware", lambda device: Hardware(has, f"{device}: {has}")
    )

    ended = evaluate(model, tmp_path / "out", "--prompts", prompts, "--frames", "7")

    assert ended.stderr.splitlines()[0] == f"computes in {name}: cpu: {has}"
    assert "does not make 7 frames" in ended.stderr


def test_shots_in_folders_are_measured_by_name_against_their_truth(tmp_path: Path) -> None:
    scene = make_scene(1, 2, 48, 72)
    shots = write_shots(tmp_path, first=scene, second=faded(scene))
    truth = tmp_path / "truth"
    write_stack(truth / "first", scene)
    write_stack(truth / "second", scene)

    report = report_of(shots, tmp_path / "out", "--truth", truth)

    assert [shot["name"] for shot in report["shots"]] == ["first", "second"]
    assert report["metrics"]["recomposition_before"]["worst_shot"] == "second"
    assert report["metrics"]["soft_iou"]["worst"] == 1
    assert any("no prompts" in reason for reason in report["left_out"])


def test_the_page_is_one_file_that_shows_every_shot_and_every_metric(tmp_path: Path) -> None:
    scene = make_scene(2, 2, 48, 72)
    shots = write_shots(tmp_path, **{"a<b": scene})

    report = report_of(shots, tmp_path / "out")

    page = (tmp_path / "out" / "index.html").read_text()
    assert page.count("data:image/png;base64,") == 1
    assert "a&lt;b" in page
    assert "a<b" not in page
    assert "http" not in page
    assert all(name.replace("_", " ") in page for name in report["metrics"])
    assert page.count("<svg") == len(report["metrics"])


def test_words_for_folders_go_by_the_order_of_names(
    tmp_path: Path, assets: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    scene = make_scene(1, 2, 48, 72)
    shots = write_shots(tmp_path, first=scene, second=scene)
    lines = [{**LINE, "foregrounds": [words]} for words in ("a cat", "a panda")]
    monkeypatch.setattr(Oracle, "nearest", lambda *_: "a panda")

    options = ("--prompts", write_prompts(tmp_path, *lines), "--assets", assets, "--no-alignment")
    report = report_of(shots, tmp_path / "out", *options)

    assert [shot["values"]["right_subject"] for shot in report["shots"]] == [0, 1]


@pytest.mark.slow
def test_kept_takes_are_not_made_again_and_figures_stay(
    model: Path, prompts: Path, tmp_path: Path
) -> None:
    options = ("--prompts", prompts, "--takes", tmp_path / "takes")
    first = report_of(model, tmp_path / "one", *options)
    again = report_of(model, tmp_path / "two", *options)

    assert len(list((tmp_path / "takes").iterdir())) == 3
    assert again["speed"]["network_calls"] == 0
    assert again["shots"] == first["shots"]


@pytest.mark.slow
def test_several_subsets_of_streams_are_given_in_turn(
    model: Path, assets: Path, tmp_path: Path
) -> None:
    asked = ("--held-out", "1", "--given", "full+background", "--given", "foreground_1")
    options = ("--assets", assets, "--no-alignment", "--regenerate", "0")
    report = report_of(model, tmp_path / "out", *asked, *options)

    assert list(report["given"]) == ["full+background", "foreground_1"]
    for section in report["given"].values():
        assert section["metrics"]["given_change"]["worst"] == 0
        assert "soft_iou" in section["metrics"]
        assert "recomposition_before" in section["beside_generated"]
    assert "plate_under_foreground" not in report["given"]["foreground_1"]["metrics"]
    assert "Given: full and background" in (tmp_path / "out" / "index.html").read_text()


@pytest.mark.slow
def test_another_model_stands_beside_on_the_same_words(
    model: Path, prompts: Path, tmp_path: Path
) -> None:
    options = ("--prompts", prompts, "--regenerate", "0", "--beside", f"itself={model}")
    report = report_of(model, tmp_path / "out", *options)

    own = {shot["name"]: shot["values"] for shot in report["shots"]}
    beside = {shot["name"]: shot["values"] for shot in report["baseline_shots"]["itself"]}
    assert own == beside


def test_other_layers_stand_beside_those_of_a_folder(tmp_path: Path) -> None:
    scene = make_scene(1, 2, 48, 72)
    shots = write_shots(tmp_path / "own", first=scene, second=scene)
    others = write_shots(tmp_path / "others", first=faded(scene), second=scene)

    report = report_of(shots, tmp_path / "out", "--beside", f"faded={others}")

    found = report["baselines"]["faded"]["recomposition_before"]
    assert found["worst_shot"] == "first"
    assert found["worst"] < report["metrics"]["recomposition_before"]["worst"]


def test_bad_shots_can_be_left_out_and_are_told(tmp_path: Path) -> None:
    scene = make_scene(1, 1, 48, 72)
    shots = write_shots(tmp_path, good=scene, no_full=scene)
    shutil.rmtree(shots / "no_full" / "full")

    report = report_of(shots, tmp_path / "out", "--skip-bad")

    assert [shot["name"] for shot in report["shots"]] == ["good"]
    assert any("shot no_full" in reason for reason in report["left_out"])


def test_a_failing_vbench_loses_no_other_figure(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shots = write_shots(tmp_path, first=make_scene(1, 2, 48, 72))
    stale = tmp_path / "out" / "vbench" / "full" / "stale.mp4"
    stale.parent.mkdir(parents=True)
    stale.touch()
    monkeypatch.setattr("importlib.util.find_spec", lambda *_: object())

    result = evaluate(shots, tmp_path / "out", "--vbench", "motion_smoothness")

    assert result.exit_code == 2
    assert "VBench failed on motion_smoothness" in result.stderr
    assert (tmp_path / "out" / "report.json").exists()
    assert not stale.exists()


@pytest.mark.slow
def test_frames_are_a_choice_among_those_the_model_makes(
    model: Path, prompts: Path, tmp_path: Path
) -> None:
    folder = shutil.copytree(model, tmp_path / "model")
    card = json.loads((folder / CARD_FILE).read_text()) | {"num_frames": [5, 9]}
    (folder / CARD_FILE).write_text(json.dumps(card))

    options = ("--prompts", prompts, "--frames", "9", "--regenerate", "0", "--no-alignment")
    report = report_of(folder, tmp_path / "out", *options)

    assert ", 9 frames, " in report["format"]


VBENCH = """
import json
from pathlib import Path

class VBench:
    def __init__(self, device, info, output):
        self.output = Path(output)

    def evaluate(self, videos_path, name, dimension_list, mode):
        assert mode == "custom_input"
        movies = sorted(Path(videos_path).iterdir())
        found = {d: [len(movies) / 10, [{"video_path": str(m)} for m in movies]] for d in dimension_list}
        self.output.mkdir(parents=True, exist_ok=True)
        (self.output / f"{name}_eval_results.json").write_text(json.dumps(found))
"""  # noqa: E501


def test_vbench_scores_the_movies_of_every_stream(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    package = tmp_path / "packages" / "vbench"
    package.mkdir(parents=True)
    (package / "__init__.py").write_text(VBENCH)
    monkeypatch.syspath_prepend(package.parent)
    monkeypatch.delitem(sys.modules, "vbench", raising=False)
    shots = write_shots(tmp_path, first=make_scene(1, 2, 48, 72), second=make_scene(1, 2, 48, 72))

    report = report_of(shots, tmp_path / "out", "--vbench", "aesthetic_quality")

    assert set(report["vbench"]) == {"full", "background", "foreground"}
    assert all(scores == {"aesthetic_quality": 0.2} for scores in report["vbench"].values())
    del sys.modules["vbench"]


def test_sheet_rows_of_different_widths_are_padded(tmp_path: Path) -> None:
    shots = write_shots(tmp_path, a=make_scene(1, 2, 48, 72), b=make_scene(2, 2, 48, 72))

    report_of(shots, tmp_path / "out")

    # Two columns of the wider row: full twice, background, two foregrounds, two mattes.
    with Image.open(tmp_path / "out" / "sheet.png") as sheet:
        assert sheet.size == (2 * 7 * 72, 48)


def test_no_layer_changes_while_it_is_measured(tmp_path: Path) -> None:
    scene = make_scene(1, 3)
    before = scene.background.rgb_TCHW.clone()

    shot = Shot("a", scene, truth=scene)
    measure_shots([shot], [], Judges(), lambda _: None)

    assert torch.equal(scene.background.rgb_TCHW, before)
