from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from diffusers import AutoencoderKLWan
from typer.testing import CliRunner

from layert2v_model.estimate import Device
from layert2v_training import dry_run
from layert2v_training.cli import app
from layert2v_training.dry_run import DoesNotFit, Needs, describe, joint_needs, vae_needs
from layert2v_training.overrides import apply_overrides, read_overrides
from layert2v_training.recipes import tiny, wan2_1_1_3b_long
from layert2v_training.stages import Run
from support.released_files import write_wan_folder


def make_run(out: Path, *changes: str) -> Run:
    recipe = apply_overrides(tiny(), read_overrides([], changes))
    return Run(recipe, out / "assets", out / "run")


@pytest.mark.parametrize("stage", ["vae", "alpha-vae", "joint", "multi-foreground"])
def test_every_stage_says_what_it_takes_and_makes_nothing(tmp_path: Path, stage: str) -> None:
    out = tmp_path / "run"

    result = CliRunner().invoke(app, [stage, "--dry-run", "--out", str(out)])

    assert result.exit_code == 0, result.output
    for word in ("parameters", "tokens a clip", "memory", "disk", "steps a second"):
        assert word in result.output
    assert not out.exists()


def test_parameters_tokens_and_accumulation_are_counted(tmp_path: Path) -> None:
    needs = joint_needs(make_run(tmp_path), "multi-foreground")
    twice = joint_needs(
        make_run(tmp_path, "multi_foreground.loop.gradient_accumulation=2"), "multi-foreground"
    )

    assert needs.num_trained == needs.num_parameters == pytest.approx(15e6, rel=0.1)
    assert needs.num_tokens == 8 * 9 * 10 * 6
    assert twice.flops_per_step == 2 * needs.flops_per_step
    assert twice.memory_bytes == needs.memory_bytes


def test_checkpointing_takes_less_memory_and_more_time(tmp_path: Path) -> None:
    plain = joint_needs(make_run(tmp_path), "joint")
    spare = joint_needs(make_run(tmp_path, "joint.gradient_checkpointing=true"), "joint")

    assert spare.memory_bytes < plain.memory_bytes
    assert spare.flops_per_step > plain.flops_per_step


def test_what_cannot_fit_is_refused_with_a_remedy(tmp_path: Path) -> None:
    with pytest.raises(DoesNotFit, match="set a smaller batch_size"):
        describe(make_run(tmp_path, "joint.batch_size=100000"), "joint")


def test_too_small_a_disk_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    class Full:
        free = 1000

    monkeypatch.setattr(dry_run.shutil, "disk_usage", lambda path: Full)

    with pytest.raises(DoesNotFit, match="make room"):
        describe(make_run(tmp_path), "joint")


def test_adapters_on_a_base_are_counted_apart(tmp_path: Path) -> None:
    wan = write_wan_folder(tmp_path / "wan")

    result = CliRunner().invoke(
        app, ["joint", "--dry-run", "--recipe", "wan2.1-1.3b", "--base", str(wan),
              "--out", str(tmp_path / "run"), "--set", "num_clips=4"]
    )  # fmt: skip

    assert result.exit_code == 0, result.output
    assert "of which" in result.output


def test_latents_that_leave_the_device_full_are_counted_in_main_memory(tmp_path: Path) -> None:
    gpu = Device("a GPU", 80 * 2**30)
    needs = Needs(1, 1, 1, 10 * 2**30, 100 * 2**30, 0, 0.0)

    assert needs.on_device(gpu) == 10 * 2**30
    assert needs.in_main_memory(gpu) == 100 * 2**30
    assert replace(needs, latents_bytes=2**30).on_device(gpu) == 11 * 2**30
    assert needs.on_device(replace(gpu, is_host=True)) == 110 * 2**30


@pytest.mark.parametrize(("flags", "said"), [((), "set a smaller"), (("--ignore-fit",), "first")])
def test_a_stage_that_cannot_fit_is_refused_when_it_starts(
    tmp_path: Path, flags: tuple[str, ...], said: str
) -> None:
    out = tmp_path / "run"

    result = CliRunner().invoke(
        app, ["joint", "--out", str(out), "--set", "joint.batch_size=100000", *flags]
    )

    assert result.exit_code == 2
    assert said in result.output
    assert not (out / "vae").exists()


def test_the_user_s_clips_are_opened(tmp_path: Path) -> None:
    (tmp_path / "clips").mkdir()
    for stage in ("alpha-vae", "joint"):
        result = CliRunner().invoke(
            app, [stage, "--dry-run", "--out", str(tmp_path / "run"),
                  "--data", str(tmp_path / "clips")]
        )  # fmt: skip

        assert result.exit_code == 2, result.exception
        assert "clips" in result.output


def test_what_one_video_takes_to_decode_counts_for_each_of_a_batch(tmp_path: Path) -> None:
    once = vae_needs(make_run(tmp_path, "vae_batch_size=2")).flops_per_step
    twice = vae_needs(make_run(tmp_path, "vae_batch_size=4")).flops_per_step

    assert twice == 2 * once > 0


@pytest.mark.parametrize("stage", ["joint", "multi-foreground"])
def test_the_long_wan_recipe_fits_a_gpu_of_80_gb(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, stage: str
) -> None:
    with torch.device("meta"):
        wan = SimpleNamespace(settings={}, vae=AutoencoderKLWan())
    monkeypatch.setattr(Run, "wan", wan)

    needs = joint_needs(Run(wan2_1_1_3b_long(), tmp_path, tmp_path, base=tmp_path), stage)

    gpu = Device("a GPU", 79 * 2**30)
    assert needs.on_device(gpu) < 60 * 2**30
    assert needs.in_main_memory(gpu) == needs.latents_bytes > gpu.memory_bytes
