"""Simulated steps against steps that are made."""

from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

import pytest
import torch

from layert2v_model.cost.estimate import ModelSize
from layert2v_training.costs.batches import Batch, batches
from layert2v_training.costs.parts import StageParts
from layert2v_training.costs.passes import joint_losses, joint_peaks
from layert2v_training.costs.simulated import LiveBytes, fake, on_meta, simulated
from layert2v_training.runs.overrides import apply_overrides, read_overrides
from layert2v_training.runs.recipes import tiny
from layert2v_training.runs.run import Run
from support import measured_training
from support.forked import forked
from support.waiting import HANG_S

SMALL = (
    "transformer.num_layers=2",
    "transformer.num_attention_heads=1",
    "transformer.ffn_dim=64",
    "joint.loop.autocast=null",
)
BATCH = Batch(2, 1, (2, 4, 6))


def parts_of(folder: Path, *changes: str) -> StageParts:
    recipe = apply_overrides(tiny(), read_overrides([], changes))
    return StageParts(Run(recipe, folder, folder / "run"))


def test_fake_tensors_are_counted_as_real_ones_are(tmp_path: Path) -> None:
    parts = parts_of(tmp_path, *SMALL)

    def peak(live: LiveBytes, model) -> int:
        begin = live.restart_at_now()
        joint_losses(model, BATCH, None)["flow"].backward()
        return live.restart() - begin

    empty = on_meta(lambda: parts.make_transformer(parts.run.recipe.joint))
    with simulated() as live:
        said = peak(live, fake(empty))
    with LiveBytes() as live:
        took = peak(live, parts.make_transformer(parts.run.recipe.joint))

    assert said == pytest.approx(took, rel=0.02)


@pytest.mark.parametrize("checkpoints", ["true", "false"])
def test_a_deep_network_is_told_from_two_shallow_ones(tmp_path: Path, checkpoints: str) -> None:
    changes = (*SMALL[1:], f"joint.gradient_checkpointing={checkpoints}")
    parts = parts_of(tmp_path, "transformer.num_layers=4", *changes)

    said = joint_peaks(parts, parts.run.recipe.joint, BATCH)

    with LiveBytes() as live:
        model = parts.make_transformer(parts.run.recipe.joint)
        if checkpoints == "true":
            model.enable_gradient_checkpointing()
        begin = live.restart_at_now()
        joint_losses(model, BATCH, None)["flow"].backward()
    assert said.beyond_parameters(0, 1) == pytest.approx(live.peak - begin, rel=0.03)


def test_what_is_freed_is_not_counted() -> None:
    with simulated() as live:
        kept = torch.zeros(1000)
        torch.zeros(5000)
        part = kept[:500]

    assert live.now == kept.nbytes == 2 * part.nbytes
    assert live.peak == 24000


def test_batches_are_drawn_in_the_shares_of_the_clips(tmp_path: Path) -> None:
    parts = parts_of(tmp_path, "joint.windowed_share=0.25", "joint.batch_size=4")
    run = parts.run
    size = ModelSize(dict(parts.settings), parts.vae_config, {})

    drawn = list(batches(run.recipe.joint, size, {(160, 96, 9): 30, (96, 64, 9): 10}, (1, 1, 2)))

    assert sum(share for _, share in drawn) == pytest.approx(1)
    shares = {(b.latent_THW, b.num_foregrounds, b.num_clips): share for b, share in drawn}
    assert shares[(9, 12, 20), 1, 4] == pytest.approx(0.75 * 0.75 * 2 / 3)
    # Smaller pictures come as many more at once.
    assert shares[(9, 8, 12), 2, 10] == pytest.approx(0.75 * 0.25 / 3)
    assert shares[(1, 12, 20), 2, 16] == pytest.approx(0.25 * 0.75 / 3)


@pytest.mark.slow
def test_a_step_takes_the_memory_that_is_simulated() -> None:
    # This runs in another process, because measuring peaks changes how memory is given back.
    with ProcessPoolExecutor(1, forked()) as pool:
        cases = pool.submit(measured_training.measured).result(HANG_S)

    assert cases.keys() == measured_training.CASES.keys()
    for case, (said, took) in cases.items():
        assert said == pytest.approx(took, rel=0.15), case
