from pathlib import Path

import pytest
import torch

from layert2v_training.learning.checkpoint import CHECKPOINT
from support.toy_run import adapt_vae, on_two_processes, run, run_on_processes, toy_recipe


def test_two_processes_learn_from_what_one_with_twice_the_accumulation_learns_from(
    tmp_path: Path,
) -> None:
    alone = run(tmp_path / "alone", toy_recipe(1, accumulation=2))

    together = run_on_processes(tmp_path / "together", toy_recipe(1))

    assert len(alone) > 10
    for gradients in together:
        for ours, theirs in zip(gradients, alone, strict=True):
            torch.testing.assert_close(ours, theirs, atol=1e-6, rtol=1e-4)


def test_a_run_with_split_parameters_resumes_and_equals_one_with_whole_ones(
    tmp_path: Path,
) -> None:
    run(tmp_path / "alone", toy_recipe(1, accumulation=2))
    run(tmp_path / "alone", toy_recipe(3, accumulation=2))

    for steps in (1, 3):
        run_on_processes(tmp_path / "split", toy_recipe(steps), is_split=True)

    whole, split = (
        torch.load(tmp_path / name / CHECKPOINT, weights_only=True) for name in ("alone", "split")
    )
    # Three steps move a parameter by about 3e-2; sums in another order by far less, though a step
    # divides small gradients by their own size.
    for part in ("parameters", "ema"):
        for name, value in whole[part].items():
            torch.testing.assert_close(split[part][name], value, atol=3e-3, rtol=0)


@pytest.mark.slow
def test_stage_one_stopped_on_one_of_two_processes_ends_as_an_uninterrupted_one(
    assets: Path, tmp_path: Path
) -> None:
    straight, broken = tmp_path / "straight", tmp_path / "broken"

    codes = [
        on_two_processes(adapt_vae, (folder, assets, stop_at))
        for folder, stop_at in ((straight, None), (broken, 2), (broken, None))
    ]

    assert codes == [[0, 0], [143, 143], [0, 0]]
    one, other = (
        torch.load(folder / "run-alpha-vae" / CHECKPOINT, weights_only=True)
        for folder in (straight, broken)
    )
    assert one["step"] == other["step"] == 5
    for part in ("parameters", "ema"):
        for name, value in one[part].items():
            assert torch.equal(other[part][name], value), (part, name)
