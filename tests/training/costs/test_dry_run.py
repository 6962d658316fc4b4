import json
import shutil
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from typer.testing import CliRunner

from layert2v_model.cost.device import Device
from layert2v_training.cli import app
from layert2v_training.costs import decoder_time, dry_run, network_time, timing
from layert2v_training.costs.batches import Batch
from layert2v_training.costs.dry_run import describe, duration, needs_of
from layert2v_training.costs.needs import DoesNotFit, Needs, Phase, parse_bytes
from layert2v_training.costs.parts import StageParts
from layert2v_training.runs.overrides import apply_overrides, read_overrides
from layert2v_training.runs.recipes import tiny, wan2_1_1_3b_long
from layert2v_training.runs.run import Run
from layert2v_training.runs.run_precision import ELSEWHERE, in_precision
from support.released_files import write_diffusers_wan_folder, write_wan_folder

GIB = 2**30
GPU = Device("a GPU", 80 * GIB)
HOST = Device("this computer", 80 * GIB, is_host=True)
NARROW = ("transformer.num_attention_heads=1", "extra_sizes=[]")
SMALL = ("transformer.num_layers=2", *NARROW)


@pytest.fixture(autouse=True)
def _short_timings(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(timing, "BUDGET_S", 0.005)
    # A first pass says as much as the fastest of three: figures of speed are not asserted.
    monkeypatch.setattr(timing, "REPEATS", 0)


def make_run(out: Path, *changes: str) -> Run:
    recipe = apply_overrides(tiny(), read_overrides([], changes))
    return Run(recipe, out / "assets", out / "run")


def needs(out: Path, stage: str, *changes: str) -> Needs:
    return needs_of(StageParts(make_run(out, *changes)), stage)


def phase(found: Needs, name: str) -> Phase:
    return next(phase for phase in found.phases if phase.name == name)


# --------------------------------------------------------------------------------------------------
# The program


@pytest.mark.parametrize("stage", ["vae", "alpha-vae", "joint", "multi-foreground"])
def test_every_stage_says_what_it_takes_and_makes_nothing(tmp_path: Path, stage: str) -> None:
    out = tmp_path / "run"

    result = CliRunner().invoke(app, [stage, "--dry-run", "--recipe", "debug", "--out", str(out)])

    assert result.exit_code == 0, result.output
    for word in ("parameters", "tokens a clip", "memory", "disk", "s a step", "steps a second"):
        assert word in result.output
    assert not out.exists()


def test_all_stages_are_said_with_their_sums(tmp_path: Path) -> None:
    out = tmp_path / "run"

    result = CliRunner().invoke(app, ["all", "--dry-run", "--recipe", "debug", "--out", str(out)])

    assert result.exit_code == 0, result.output
    for stage in ("vae", "alpha-vae", "joint", "multi-foreground"):
        assert f"stage {stage}, 4 steps on " in result.output
    assert "all 4 stages" in result.output
    assert "of steps" in result.output
    assert not out.exists()


def test_times_are_said_in_a_unit_that_fits() -> None:
    assert [duration(s) for s in (0.2, 3.4, 600, 9000, 1e6)] == [
        "less than 1 s",
        "3 s",
        "10 min",
        "2.5 hours",
        "277.8 hours",
    ]


def test_what_cannot_fit_is_refused_with_a_remedy(tmp_path: Path) -> None:
    with pytest.raises(DoesNotFit, match=r"while training, .*; set a smaller batch_size"):
        describe(make_run(tmp_path, "joint.batch_size=100000"), "joint")


def test_too_small_a_disk_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(dry_run.shutil, "disk_usage", lambda path: SimpleNamespace(free=1000))

    with pytest.raises(DoesNotFit, match="make room"):
        describe(make_run(tmp_path, *SMALL), "joint")


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


# --------------------------------------------------------------------------------------------------
# Devices that are not here


def test_a_device_that_is_not_here_is_answered_for_from_the_configs_alone(tmp_path: Path) -> None:
    whole = write_diffusers_wan_folder(tmp_path / "whole")
    configs = tmp_path / "configs"
    for part in ("transformer", "vae", "text_encoder"):
        (configs / part).mkdir(parents=True)
        shutil.copy(whole / part / "config.json", configs / part)
    command = ["joint", "--dry-run", "--device-memory", "24GiB", "--recipe", "wan2.1-1.3b"]
    command += ["--out", str(tmp_path / "run")]

    said = [CliRunner().invoke(app, [*command, "--base", str(base)]) for base in (whole, configs)]

    assert said[0].exit_code == said[1].exit_code == 0, said[1].output
    assert "the device has 24.00 GiB free" in said[1].output
    assert "in each process while" in said[1].output
    assert "speed           unknown" in said[1].output
    assert said[0].output == said[1].output


def test_the_authors_config_is_enough_to_tell_what_14b_takes(tmp_path: Path) -> None:
    config = {
        "model_type": "t2v", "dim": 5120, "eps": 1e-6, "ffn_dim": 13824, "freq_dim": 256,
        "in_dim": 16, "num_heads": 40, "num_layers": 40, "out_dim": 16, "text_len": 512,
    }  # fmt: skip
    (tmp_path / "config.json").write_text(json.dumps(config))

    result = CliRunner().invoke(
        app, ["joint", "--dry-run", "--device-memory", "24G", "--recipe", "wan2.1-14b",
              "--base", str(tmp_path), "--out", str(tmp_path / "run")]
    )  # fmt: skip

    assert result.exit_code == 2
    assert "parameters      14,9" in result.output
    # 14.9 billion numbers of 4 bytes, in each process.
    assert "main memory     55.55 GiB in each process while loading weights" in result.output
    assert "the device has 24.00 GiB free; set" in result.output


def test_a_pretended_device_is_for_dry_runs_and_has_a_size(tmp_path: Path) -> None:
    command = ["joint", "--out", str(tmp_path / "run"), "--device-memory"]

    training = CliRunner().invoke(app, [*command, "24GiB"])
    nonsense = CliRunner().invoke(app, [*command, "much", "--dry-run"])

    assert (training.exit_code, nonsense.exit_code) == (2, 2)
    assert "add --dry-run" in training.output
    assert "much is not a size; write 24GiB" in nonsense.output


def test_sizes_are_read_as_people_write_them() -> None:
    assert [parse_bytes(text) for text in ("24GiB", "24 gb", "1.5G", "1000")] == [
        24 * GIB, 24 * GIB, 3 * GIB // 2, 1000
    ]  # fmt: skip


# --------------------------------------------------------------------------------------------------
# What is counted


def test_parameters_tokens_and_accumulation_are_counted(tmp_path: Path) -> None:
    once = needs(tmp_path, "multi-foreground")
    twice = needs(tmp_path, "multi-foreground", "multi_foreground.loop.gradient_accumulation=2")

    assert once.num_trained == once.num_parameters == pytest.approx(15e6, rel=0.1)
    assert once.num_tokens == 8 * 9 * 10 * 6
    # Gradients of the first part are there when the second begins.
    more = twice.on_device(HOST) - once.on_device(HOST)
    assert more == 4 * once.num_trained


def test_checkpointing_takes_less_memory(tmp_path: Path) -> None:
    plain = needs(tmp_path, "joint")
    spare = needs(tmp_path, "joint", "joint.gradient_checkpointing=true")

    activations = phase(plain, "training").device_bytes - phase(spare, "training").device_bytes
    assert activations > 500 * 2**20


def test_blocks_that_are_not_simulated_are_like_those_that_are(tmp_path: Path) -> None:
    two, three, five = (
        phase(needs(tmp_path, "joint", *NARROW, f"transformer.num_layers={n}"), "training")
        for n in (2, 3, 5)
    )

    each = three.device_bytes - two.device_bytes
    assert five.device_bytes - three.device_bytes == 2 * each > 0


def test_losses_of_pixels_take_the_backward_pass_of_both_decoders(tmp_path: Path) -> None:
    plain = phase(needs(tmp_path, "joint", *SMALL), "training").device_bytes
    decoded = needs(
        tmp_path, "joint", *SMALL, "joint.decoded.composite=0.1", "joint.decoded.num_clips=2",
        "joint.decoded.num_latent_frames=9",
    )  # fmt: skip

    assert phase(decoded, "training").device_bytes > plain + 100 * 2**20


def test_the_text_encoder_is_on_a_gpu_while_sheets_are_made(tmp_path: Path) -> None:
    found = needs(tmp_path, "joint", *SMALL)
    encoder = StageParts(make_run(tmp_path)).text_bytes

    assert encoder == pytest.approx(90e6, rel=0.1)
    training, sheets = phase(found, "training"), phase(found, "making sheets")
    assert training.host_bytes - sheets.host_bytes == encoder
    assert sheets.device_bytes > encoder
    without = needs(tmp_path, "joint", *SMALL, "joint.sheet_every=0")
    assert "making sheets" not in [phase.name for phase in without.phases]


def test_mattes_that_leave_a_gpu_full_are_counted_in_main_memory(tmp_path: Path) -> None:
    found = needs(tmp_path, "alpha-vae", "alpha_vae.num_clips=200000")

    assert found.stored_bytes > 2 * GPU.memory_bytes
    assert not found.is_stored_on(GPU)
    assert found.on_device(GPU) < GIB
    assert found.in_main_memory(GPU)[1] > found.stored_bytes
    assert found.on_device(HOST) > found.stored_bytes


def test_stored_data_goes_where_the_run_would_keep_it() -> None:
    found = Needs(1, 1, 1, (Phase("training", 10 * GIB, GIB),), 100 * GIB, 0)

    assert found.on_device(GPU) == 10 * GIB
    assert found.in_main_memory(GPU)[1] == 101 * GIB
    assert replace(found, stored_bytes=GIB).on_device(GPU) == 11 * GIB
    assert found.on_device(HOST) == 111 * GIB


def test_adapters_on_a_base_are_counted_apart(tmp_path: Path) -> None:
    wan = write_wan_folder(tmp_path / "wan")

    result = CliRunner().invoke(
        app, ["joint", "--dry-run", "--recipe", "wan2.1-1.3b", "--base", str(wan),
              "--out", str(tmp_path / "run"), "--set", "num_clips=4"]
    )  # fmt: skip

    assert result.exit_code == 0, result.output
    assert "of which" in result.output


# --------------------------------------------------------------------------------------------------
# Time


def test_a_step_of_twice_the_blocks_takes_the_blocks_twice(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(
        network_time,
        "_time_network",
        lambda model, batch, *given: network_time._Times(batch, 3.0, 2.0, 1.0),
    )
    monkeypatch.setattr(network_time, "time_update", lambda *given: 0.0)
    changes = (*NARROW, "joint.windowed_share=0")

    def seconds(num_layers: int, *more: str) -> float:
        run = make_run(tmp_path, *changes, f"transformer.num_layers={num_layers}", *more)
        monkeypatch.setattr(network_time, "affordable_flops", lambda *given: 1e15)
        return network_time.time_joint(StageParts(run), "joint", torch.device("cpu")).seconds

    assert seconds(2) == 3 + 2
    assert seconds(4) == 3 + 3 * 2
    assert seconds(2, "joint.loop.gradient_accumulation=3") == 3 * (3 + 2)


def test_what_is_left_out_of_a_timing_is_added_by_its_multiplications(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    timed = list[Batch]()
    monkeypatch.setattr(network_time, "time_update", lambda *given: 0.0)

    def pretended(model: object, batch: Batch, *given: object) -> network_time._Times:
        timed.append(batch)
        return network_time._Times(batch, 1.0, 1.0, 0.5)

    monkeypatch.setattr(network_time, "_time_network", pretended)
    parts = StageParts(make_run(tmp_path, *SMALL, "joint.windowed_share=0", "joint.batch_size=8"))

    def seconds(flops: float) -> float:
        monkeypatch.setattr(network_time, "affordable_flops", lambda *given: flops)
        return network_time.time_joint(parts, "joint", torch.device("cpu")).seconds

    assert seconds(1e15) == 2
    assert timed[-1].num_clips == 8
    # Eight clips of nine frames instead of one of one; attention sees nine times as many.
    assert seconds(1) == pytest.approx(8 * (9 * 1 + 9 * 9 * 1))
    assert (timed[-1].num_clips, timed[-1].latent_THW[0]) == (1, 1)


@pytest.mark.parametrize("stage", ["joint", "multi-foreground"])
def test_the_long_wan_recipe_fits_a_gpu_of_80_gb(tmp_path: Path, stage: str) -> None:
    config = {"model_type": "t2v", "dim": 1536, "ffn_dim": 8960, "freq_dim": 256, "in_dim": 16,
              "num_heads": 12, "num_layers": 30, "out_dim": 16}  # fmt: skip
    (tmp_path / "config.json").write_text(json.dumps(config))

    recipe = in_precision(wan2_1_1_3b_long(), "auto", torch.device("cuda"), ELSEWHERE)
    run = Run(recipe, tmp_path, tmp_path / "run", base=tmp_path)
    found = needs_of(StageParts(run), stage)

    gpu = Device("a GPU", 79 * GIB)
    assert found.too_large(gpu) == {}
    assert found.in_main_memory(gpu)[1] > found.stored_bytes > gpu.memory_bytes


def test_videos_that_are_left_out_cost_what_one_more_costs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(decoder_time, "affordable_flops", lambda *given: 1.0)
    monkeypatch.setattr(decoder_time, "time_update", lambda *given: 0.0)
    # Two videos take 5 s and one takes 3.
    seconds = iter([5.0, 3.0])
    monkeypatch.setattr(decoder_time, "fastest", lambda *given: next(seconds))
    parts = StageParts(make_run(tmp_path, "vae_batch_size=6"))

    timed = decoder_time.time_vae(parts, torch.device("cpu"))

    assert timed.words == "2 videos of 160x96x9 were timed, of 6 of 160x96x9"
    assert timed.seconds == 5 + 4 * 2
