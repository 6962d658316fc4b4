import random
from pathlib import Path

import pytest
import torch

from layert2v_training.learning.checkpoint import CHECKPOINT
from support.toy_run import run, start, toy_recipe


def kill_and_finish(folder: Path, num_steps: int, num_kills: int) -> int:
    """Kill a run at random moments, then let it end; return how often it was still running.

    A moment is some steps and less than about two later: machines differ in how fast they are, so
    the process waits after those two.
    """
    moments, hits = random.Random(7), 0
    for _ in range(num_kills):
        count = moments.randint(1, num_steps // (num_kills + 1))
        process, told = start(folder, toy_recipe(num_steps), count + 2)
        for _ in range(count):
            told.recv()
        process.join(moments.uniform(0, 0.02))
        hits += process.is_alive()
        process.kill()
        process.join()
        told.close()
    process, told = start(folder, toy_recipe(num_steps), num_steps + 1)
    process.join()
    assert process.exitcode == 0
    return hits


def assert_same_state(one: Path, other: Path) -> None:
    states = [torch.load(folder / CHECKPOINT, weights_only=True) for folder in (one, other)]
    assert states[0]["step"] == states[1]["step"]
    for part in ("parameters", "ema"):
        for name, value in states[0][part].items():
            assert torch.equal(value, states[1][part][name]), (part, name)


@pytest.mark.parametrize(
    ("num_steps", "num_kills"), [(16, 3), pytest.param(66, 10, marks=pytest.mark.slow)]
)
def test_a_run_killed_at_random_moments_ends_bit_for_bit_as_an_uninterrupted_one(
    tmp_path: Path, num_steps: int, num_kills: int
) -> None:
    run(tmp_path / "straight", toy_recipe(num_steps))

    hits = kill_and_finish(tmp_path / "killed", num_steps, num_kills)

    assert hits == num_kills
    assert_same_state(tmp_path / "straight", tmp_path / "killed")
