"""Measure the passes of a training step of medium size, in a process of its own."""

from pathlib import Path

import torch

from benchmarks.memory import extra_peak_bytes
from layert2v_training.costs.batches import Batch
from layert2v_training.costs.parts import StageParts
from layert2v_training.costs.passes import joint_losses, joint_peaks
from layert2v_training.learning.loop import autocast
from layert2v_training.runs.overrides import apply_overrides, read_overrides
from layert2v_training.runs.recipes import tiny
from layert2v_training.runs.run import Run

CASES = {
    "float32": ("joint.loop.autocast=null",),
    "checkpointing": ("joint.loop.autocast=null", "joint.gradient_checkpointing=true"),
}
BATCH = Batch(2, 1, (8, 12, 20))
SMALLEST = Batch(1, 1, (2, 2, 2))


def _measured(case: str) -> tuple[int, int]:
    torch.set_num_threads(1)
    changes = ("transformer.num_layers=3", "transformer.ffn_dim=512", *CASES[case])
    recipe = apply_overrides(tiny(), read_overrides([], changes)).joint
    parts = StageParts(Run(apply_overrides(tiny(), read_overrides([], changes)), Path(), Path()))
    said = joint_peaks(parts, recipe, BATCH).beyond_parameters(0, 1)
    model = parts.make_transformer(recipe)
    if recipe.gradient_checkpointing:
        model.enable_gradient_checkpointing()

    def step(batch: Batch = BATCH) -> None:
        with autocast(torch.device("cpu"), recipe.loop):
            loss = joint_losses(model, batch, None)["flow"]
        loss.backward()

    # The first call loads libraries, whose memory is not the step's.
    step(SMALLEST)
    model.zero_grad()
    return said, extra_peak_bytes(step)


def measured() -> dict[str, tuple[int, int]]:
    """Return simulated and measured bytes of each case. Freed memory then goes back at once."""
    return {case: _measured(case) for case in CASES}
