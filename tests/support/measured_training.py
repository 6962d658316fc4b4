"""Measure the passes of a training step of middling size; prints simulated and measured bytes."""

import json
import os
import sys
from pathlib import Path

import torch

from benchmarks.memory import extra_peak_bytes
from layert2v_training.costs.batches import Batch
from layert2v_training.costs.parts import StageParts
from layert2v_training.costs.passes import joint_losses, joint_peaks
from layert2v_training.loop import autocast
from layert2v_training.overrides import apply_overrides, read_overrides
from layert2v_training.recipes import tiny
from layert2v_training.stages import Run

CASES = {
    "float32": ("joint.loop.autocast=null",),
    "checkpointing": ("joint.loop.autocast=null", "joint.gradient_checkpointing=true"),
}
BATCH = Batch(2, 1, (8, 12, 20))


def environment() -> dict[str, str]:
    """Return what the process needs to find the tests' own modules and the project's root."""
    tests = Path(__file__).parents[1]
    paths = [str(tests), str(tests.parent), os.environ.get("PYTHONPATH", "")]
    return os.environ | {"OMP_NUM_THREADS": "1", "PYTHONPATH": os.pathsep.join(filter(None, paths))}


def _measured(case: str) -> tuple[int, int]:
    torch.set_num_threads(1)
    changes = ("transformer.num_layers=3", "transformer.ffn_dim=512", *CASES[case])
    recipe = apply_overrides(tiny(), read_overrides([], changes)).joint
    parts = StageParts(Run(apply_overrides(tiny(), read_overrides([], changes)), Path(), Path()))
    said = joint_peaks(parts, recipe, BATCH).beyond_parameters(0, 1)
    model = parts.make_transformer(recipe)
    if recipe.gradient_checkpointing:
        model.enable_gradient_checkpointing()

    def step() -> None:
        with autocast(torch.device("cpu"), recipe.loop):
            loss = joint_losses(model, BATCH, None)["flow"]
        loss.backward()

    return said, extra_peak_bytes(step)


if __name__ == "__main__":
    json.dump({case: _measured(case) for case in CASES}, sys.stdout)
