import resource
from pathlib import Path

import pytest
import torch
from safetensors import SafetensorError
from typer.testing import CliRunner

from layert2v_training import stages
from layert2v_training.cli import app
from layert2v_training.refusals import is_full_disk
from layert2v_training.stages import Run
from support.toy_model import make_toy_transformer


def test_a_stage_without_its_predecessor_says_what_to_run(tmp_path: Path) -> None:
    result = CliRunner().invoke(app, ["alpha-vae", "--out", str(tmp_path)])

    assert result.exit_code == 2
    assert "layert2v-train vae" in result.output


def test_a_wan_recipe_asks_for_its_base(tmp_path: Path) -> None:
    for stage in ("alpha-vae", "joint"):
        result = CliRunner().invoke(app, [stage, "--recipe", "wan2.1-14b", "--out", str(tmp_path)])

        assert result.exit_code == 2
        assert "begins with Wan2.1; give its folder as --base" in result.output


def test_an_unknown_field_ends_the_command_before_anything_is_made(tmp_path: Path) -> None:
    out = tmp_path / "run"
    result = CliRunner().invoke(app, ["joint", "--out", str(out), "--set", "joint.lop.seed=1"])

    assert result.exit_code == 2
    assert "joint.lop is no field; did you mean loop?" in result.output
    assert not out.exists()


def test_more_foregrounds_than_the_model_takes_are_refused_before_anything_is_made(
    tmp_path: Path,
) -> None:
    out = tmp_path / "run"
    result = CliRunner().invoke(
        app, ["multi-foreground", "--out", str(out), "--set", "transformer.max_foregrounds=2"]
    )

    assert result.exit_code == 2
    assert "joint_scene.foregrounds reach 3 and transformer.max_foregrounds is 2" in result.output
    assert "set joint_scene.foregrounds=[1, 1, 2, 2]" in result.output
    assert not out.exists()


def test_a_model_of_another_size_to_go_on_from_is_refused_before_anything_is_copied(
    tmp_path: Path,
) -> None:
    model = make_toy_transformer(num_layers=2)
    model.save_pretrained(tmp_path / "model" / "transformer")
    out = tmp_path / "run"

    for flags in ((), ("--dry-run",)):
        result = CliRunner().invoke(
            app, ["joint", "--out", str(out), "--init", str(tmp_path / "model"), *flags]
        )

        assert result.exit_code == 2
        assert "transformer.num_attention_heads is 3 and --init" in result.output
        assert not out.exists()


def test_a_folder_to_go_on_from_that_is_no_model_is_refused(tmp_path: Path) -> None:
    result = CliRunner().invoke(
        app, ["joint", "--out", str(tmp_path / "run"), "--init", str(tmp_path)]
    )

    assert result.exit_code == 2
    assert "give a model folder as --init" in result.output


def test_a_full_disk_is_said_in_one_sentence(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(run: Run) -> None:
        with (tmp_path / "shard").open("wb") as file:
            torch.save(torch.zeros(10**6), file)

    monkeypatch.setattr(stages, "run_vae", full)
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, limits[1]))
    try:
        result = CliRunner().invoke(app, ["vae", "--out", str(tmp_path / "run")])
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)

    assert result.exit_code == 2, result.exception
    assert "the disk is full" in result.output
    assert "make room" in result.output


def test_other_failures_are_not_called_a_full_disk() -> None:
    assert not is_full_disk(RuntimeError("mat1 and mat2 shapes cannot be multiplied"))
    assert is_full_disk(SafetensorError("I/O error: No space left on device (os error 28)"))


@pytest.mark.parametrize("command", [("joint",), ("joint", "--dry-run"), ("latents", "joint")])
def test_composed_clips_beside_none_of_the_users_own_are_refused(
    tmp_path: Path, assets: Path, command: tuple[str, ...]
) -> None:
    options = ("--assets", str(assets), "--out", str(tmp_path / "run"))

    result = CliRunner().invoke(app, [*command, *options, "--set", "num_composed_clips=9"])

    assert result.exit_code == 2
    assert "num_composed_clips is 9 and there is no --data" in result.output
    assert "set num_clips" in result.output
    assert not (tmp_path / "run").exists()
