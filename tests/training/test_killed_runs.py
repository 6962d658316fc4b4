import random
import time
from multiprocessing.process import BaseProcess
from pathlib import Path

import pytest
import torch

from layert2v_training.checkpoint import CHECKPOINT
from support.toy_run import run, start, toy_recipe


def kill_and_finish(folder: Path, num_steps: int, num_kills: int) -> int:
    """Kill a run at random moments, then let it end; return how often it was still running.

    A moment is some checkpoints and less than a step later: machines differ in how fast they are.
    """
    moments, hits = random.Random(7), 0
    for _ in range(num_kills):
        process = start(folder, toy_recipe(num_steps))
        _await_checkpoints(folder, moments.randint(1, num_steps // (num_kills + 1)), process)
        process.join(moments.uniform(0, 0.02))
        hits += process.is_alive()
        process.kill()
        process.join()
    process = start(folder, toy_recipe(num_steps))
    process.join()
    assert process.exitcode == 0
    return hits


def _await_checkpoints(folder: Path, count: int, process: BaseProcess) -> None:
    seen = _version(folder)
    while count and process.is_alive():
        time.sleep(0.001)
        now = _version(folder)
        count -= now != seen
        seen = now


def _version(folder: Path) -> int:
    path = folder / CHECKPOINT
    return path.stat().st_mtime_ns if path.is_file() else 0


def assert_same_state(one: Path, other: Path) -> None:
    states = [torch.load(folder / CHECKPOINT, weights_only=True) for folder in (one, other)]
    assert states[0]["step"] == states[1]["step"]
    for part in ("parameters", "ema"):
        for name, value in states[0][part].items():
            assert torch.equal(value, states[1][part][name]), (part, name)


@pytest.mark.parametrize(
    ("num_steps", "num_kills"), [(40, 3), pytest.param(120, 10, marks=pytest.mark.slow)]
)
def test_a_run_killed_at_random_moments_ends_bit_for_bit_as_an_uninterrupted_one(
    tmp_path: Path, num_steps: int, num_kills: int
) -> None:
    run(tmp_path / "straight", toy_recipe(num_steps))

    hits = kill_and_finish(tmp_path / "killed", num_steps, num_kills)

    assert hits
    assert_same_state(tmp_path / "straight", tmp_path / "killed")
