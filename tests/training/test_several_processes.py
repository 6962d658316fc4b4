from pathlib import Path

import torch

from support.toy_run import run, run_on_processes, toy_recipe


def test_two_processes_learn_from_what_one_with_twice_the_accumulation_learns_from(
    tmp_path: Path,
) -> None:
    alone = run(tmp_path / "alone", toy_recipe(1, accumulation=2))

    together = run_on_processes(tmp_path / "together", toy_recipe(1), {}, deadline_s=100)

    assert len(alone) > 10
    for gradients in together:
        for ours, theirs in zip(gradients, alone, strict=True):
            torch.testing.assert_close(ours, theirs, atol=1e-6, rtol=1e-4)
