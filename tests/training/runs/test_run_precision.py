"""Both kinds of hardware are pretended."""

import logging
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from typer.testing import CliRunner

from layert2v_model.cost import precision as decision
from layert2v_model.cost.precision import Hardware
from layert2v_training.cli import app
from layert2v_training.learning.loop import autocast
from layert2v_training.learning.optimizers import LoopRecipe
from layert2v_training.runs import programs
from layert2v_training.runs.recipes import debug, tiny, wan2_1_14b
from layert2v_training.runs.run import Run
from layert2v_training.runs.run_precision import decide_for_run, in_precision, loops_of, sentences

CPU = torch.device("cpu")
WITH, WITHOUT = Hardware(True, "it has bfloat16"), Hardware(False, "it has no bfloat16")
BOTH = pytest.mark.parametrize(
    ("hardware", "name", "decided"), [(WITH, "bfloat16", "bfloat16"), (WITHOUT, "float32", None)]
)


def pretend(monkeypatch: pytest.MonkeyPatch, hardware: Hardware) -> None:
    monkeypatch.setattr(decision, "find_hardware", lambda device: hardware)
    monkeypatch.delenv("LAYERT2V_PRECISION", raising=False)


def test_every_recipe_leaves_the_precision_to_the_hardware() -> None:
    for recipe in (tiny(), wan2_1_14b()):
        assert {loop.autocast for loop in loops_of(recipe).values()} == {"auto"}


@BOTH
def test_the_hardware_decides_for_all_loops(hardware, name, decided) -> None:
    recipe = in_precision(tiny(), "auto", CPU, hardware)

    assert {loop.autocast for loop in loops_of(recipe).values()} == {decided}
    assert sentences(tiny(), "auto", CPU, hardware) == [f"computes in {name}: {hardware.words}"]


@BOTH
def test_a_loop_computes_in_what_was_decided(monkeypatch, hardware, name, decided) -> None:
    pretend(monkeypatch, hardware)
    loop = LoopRecipe(1, 1e-3)

    with autocast(CPU, loop):
        product = torch.ones(2, 2) @ torch.ones(2, 2)

    assert product.dtype is loop.compute_dtype(CPU) is getattr(torch, name)


@pytest.mark.parametrize("hardware", [WITH, WITHOUT])
def test_the_option_goes_before_the_recipe_and_the_recipe_before_the_hardware(hardware) -> None:
    loop = replace(debug().joint.loop, autocast=None)
    recipe = replace(tiny(), joint=replace(tiny().joint, loop=loop))

    assert in_precision(recipe, "auto", CPU, hardware).joint.loop.autocast is None
    assert in_precision(recipe, "bfloat16", CPU, hardware).joint.loop.autocast == "bfloat16"
    assert in_precision(tiny(), "float32", CPU, hardware).joint.loop.autocast is None


def test_loops_that_compute_differently_are_told_apart() -> None:
    recipe = replace(tiny(), vae=replace(tiny().vae, autocast="bfloat16"))

    assert sentences(recipe, "auto", CPU, WITHOUT) == [
        "vae: computes in bfloat16 as asked; it has no bfloat16",
        "alpha-vae, joint, multi-foreground, decoders: computes in float32: it has no bfloat16",
    ]


def test_the_first_line_of_a_log_says_which_and_why(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)

    recipe = decide_for_run(tiny(), "auto", WITHOUT)

    assert caplog.messages[0] == "computes in float32: it has no bfloat16"
    assert recipe.vae.autocast is None


def test_a_run_that_goes_on_in_another_precision_is_refused_with_the_remedy(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def begin(run: Run) -> None:
        run.bind("run-vae", "alpha-vae")
        torch.save({}, run.out / "run-vae" / "checkpoint.pt")

    monkeypatch.setattr(programs, "run_vae", begin)
    command = ["vae", "--out", str(tmp_path), "--ignore-fit"]
    pretend(monkeypatch, WITH)
    assert CliRunner().invoke(app, command).exit_code == 0
    pretend(monkeypatch, WITHOUT)

    refused = CliRunner().invoke(app, command)
    as_before = CliRunner().invoke(app, [*command, "--precision", "bfloat16"])
    accepted = CliRunner().invoke(app, [*command, "--accept-changes"])

    assert refused.exit_code == 2
    assert 'vae.autocast was "bfloat16" and is null' in refused.output
    assert "or compute as before by --precision bfloat16" in refused.output
    assert (as_before.exit_code, accepted.exit_code) == (0, 0)


def test_frozen_weights_of_bfloat16_need_a_stage_that_computes_in_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pretend(monkeypatch, WITHOUT)
    command = ["joint", "--recipe", "wan2.1-14b", "--out", str(tmp_path / "run")]

    refused = CliRunner().invoke(app, command)
    mended = CliRunner().invoke(app, [*command, "--precision", "bfloat16"])

    assert refused.exit_code == 2
    assert "joint.lora.frozen is bfloat16 and the stage computes in float32" in refused.output
    assert "begins with Wan2.1" in mended.output
