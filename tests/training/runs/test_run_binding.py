import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from layert2v_training.learning.checkpoint import CHECKPOINT
from layert2v_training.runs.overrides import apply_overrides, read_overrides
from layert2v_training.runs.recipes import debug
from layert2v_training.runs.run import Run
from layert2v_training.runs.run_binding import (
    RunDiffers,
    Values,
    bind,
    check_export,
    precisions_of,
    values_of,
)


def values(*changes: str, name: str = "run-joint", **places: Any) -> Values:
    return values_of(name, apply_overrides(debug(), read_overrides([], changes)), **places)


def write_checkpoint(folder: Path, value: float = 0.0) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    torch.save({"ema": {"weight": torch.tensor([value]), "one": torch.tensor(1.0)}},
               folder / CHECKPOINT)  # fmt: skip
    return folder / CHECKPOINT


@pytest.fixture
def run(tmp_path: Path) -> Path:
    """A run that was begun with the recipe `debug`."""
    bind(tmp_path / "run", values())
    write_checkpoint(tmp_path / "run")
    return tmp_path / "run"


def test_equal_values_and_more_steps_go_on(run: Path) -> None:
    bind(run, values())
    bind(run, values("joint.loop.num_steps=9", "joint.loop.checkpoint_seconds=1"))
    bind(run, values("joint.loop.num_steps=9", "multi_foreground.loop.seed=8"))

    with pytest.raises(RunDiffers, match=r"joint.loop.num_steps was 9 and is 4; choose another"):
        bind(run, values(), accepts_changes=True)


def test_other_values_are_refused_by_name_until_they_are_accepted(run: Path) -> None:
    other = values("joint.loop.learning_rate=0.5", "joint.loop.seed=3")

    with pytest.raises(
        RunDiffers,
        match=r"learning_rate was 0.001 and is 0.5; joint.loop.seed was 0 and is 3; choose another "
        r"--out, or go on with the new values by --accept-changes",
    ):
        bind(run, other)
    bind(run, other, accepts_changes=True)

    bind(run, other)


def test_other_parameters_or_optimizers_are_no_change_to_accept(run: Path) -> None:
    for change in ("joint.loop.muon_scale=2", "transformer.num_layers=3"):
        with pytest.raises(RunDiffers, match=r"choose another --out$"):
            bind(run, values(change), accepts_changes=True)


def test_a_folder_without_a_checkpoint_is_free_and_an_older_run_is_taken_over(
    tmp_path: Path,
) -> None:
    bind(tmp_path / "run", values())
    bind(tmp_path / "run", values("num_clips=3"))
    write_checkpoint(tmp_path / "older")
    bind(tmp_path / "older", values())

    with pytest.raises(RunDiffers, match="num_clips was 20 and is 3"):
        bind(tmp_path / "older", values("num_clips=3"))


def test_base_init_and_data_are_part_of_a_run(run: Path, tmp_path: Path) -> None:
    models = [tmp_path / name / "model" for name in ("one", "other")]
    for model in models:
        model.mkdir(parents=True)
        (model / "weights").write_text(model.parent.name)

    one, other = (values(init=model)["--init"] for model in models)
    assert one != other
    for places in ({"init": models[0]}, {"base": models[0]}, {"data": "clips (abc)"}):
        with pytest.raises(RunDiffers, match=r'--\w+ was null and is "\w+ \(\w+\)"'):
            bind(run, values(**places))


def test_decoders_after_a_longer_stage_3_say_what_to_remove(tmp_path: Path) -> None:
    stage, folder = tmp_path / "run-multi-foreground", tmp_path / "run-decoder"
    bind(folder, values(name="run-decoder", before=write_checkpoint(stage)))
    write_checkpoint(folder)
    bind(folder, values(name="run-decoder", before=stage / CHECKPOINT))

    later = values(name="run-decoder", before=write_checkpoint(stage, 1.0))
    with pytest.raises(RunDiffers, match=f"stage before was .*, or remove {folder} to learn again"):
        bind(folder, later)


def test_a_model_is_exported_with_the_settings_it_was_trained_with(run: Path) -> None:
    check_export(run, "run-joint", debug())
    faster = apply_overrides(debug(), read_overrides([], ["joint.loop.learning_rate=1"]))
    check_export(run, "run-joint", faster)

    network = {**debug().transformer, "prompt_visibility": "released"}
    with pytest.raises(RunDiffers, match='prompt_visibility was "isolated" and is "released"'):
        check_export(run, "run-joint", replace(debug(), transformer=network))


def test_an_export_without_the_runs_recipe_file_names_the_fields_that_differ(
    tmp_path: Path,
) -> None:
    model = tmp_path / "init"
    model.mkdir()
    trained = values("joint.lora.rank=2", "extra_sizes=[[96,64]]", init=model)
    bind(tmp_path / "run", trained)

    with pytest.raises(RunDiffers) as refused:
        check_export(tmp_path / "run", "run-joint", debug(), init=model)

    assert "extra_sizes was [[96, 64]] and is []" in str(refused.value)
    assert "joint.lora.rank was 2 and is null" in str(refused.value)
    assert "--recipe-file" in str(refused.value)
    assert "learning_rate" not in str(refused.value)


def test_adapters_are_exported_onto_the_model_that_they_were_trained_on(tmp_path: Path) -> None:
    models = [tmp_path / name for name in ("one", "other")]
    for model in models:
        model.mkdir()
        (model / "weights").write_text(model.name)
    recipe = apply_overrides(debug(), read_overrides([], ["joint.lora.rank=2"]))
    bind(tmp_path / "run", values_of("run-joint", recipe, init=models[0]))

    check_export(tmp_path / "run", "run-joint", recipe, init=models[0])
    with pytest.raises(RunDiffers, match=r'--init was "one \(\w+\)" and is "other \(\w+\)"'):
        check_export(tmp_path / "run", "run-joint", recipe, init=models[1])


def test_a_run_records_in_which_precisions_it_has_computed(tmp_path: Path) -> None:
    folder = tmp_path / "run"
    bind(folder, values("joint.loop.autocast=null"))
    assert precisions_of(folder) == ["float32"]
    write_checkpoint(folder)

    bind(folder, values("joint.loop.autocast=bfloat16"), accepts_changes=True)
    bind(folder, values("joint.loop.autocast=bfloat16"))

    assert precisions_of(folder) == ["float32", "bfloat16"]


def test_a_run_of_an_earlier_version_says_its_precision_by_its_values(run: Path) -> None:
    content = json.loads((run / "run.json").read_text())
    del content["precision"]
    (run / "run.json").write_text(json.dumps(content))

    assert precisions_of(run) == ["float32"]
    assert precisions_of(run.parent / "none") == []


def test_a_binding_that_cannot_be_read_is_refused(run: Path) -> None:
    (run / "run.json").write_text("{")

    with pytest.raises(RunDiffers, match="cannot be read"):
        bind(run, values())


def test_the_user_s_clips_are_named_with_what_changes_with_them(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Clips:
        key, clips = "first", ("a clip",)

    run = Run(debug(), tmp_path, tmp_path, data=tmp_path / "clips")
    monkeypatch.setattr(Run, "_own_clips", lambda self, stage, shape: Clips)
    run.bind("run-joint", "joint")
    write_checkpoint(tmp_path / "run-joint")
    run.bind("run-joint", "joint")
    Clips.key = "second"

    with pytest.raises(RunDiffers, match=r'--data was "clips \(\w+\)" and is "clips \(\w+\)"'):
        run.bind("run-joint", "joint")


def test_composed_clips_beside_the_user_s_own_are_another_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Clips:
        key, clips = "own", ("a clip",)

    monkeypatch.setattr(Run, "_own_clips", lambda self, stage, shape: Clips)
    alone, beside = (
        Run(replace(debug(), num_composed_clips=n), tmp_path, tmp_path, data=tmp_path / "clips")
        for n in (0, 12)
    )
    alone.bind("run-joint", "joint")
    write_checkpoint(tmp_path / "run-joint")

    with pytest.raises(RunDiffers, match=r'is "clips \(\w+\) and 12 composed"'):
        beside.bind("run-joint", "joint")
