"""Timing of parts of a training step."""

import time
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import nn

from layert2v_model.cost.device import measure_device
from layert2v_training.learning.loop import Losses
from layert2v_training.learning.optimizers import LoopRecipe, make_optimizers

BUDGET_S = 0.5
"""Seconds that one pass may take, by the device's rate on matrices."""
REPEATS = 2
"""Passes after a first one, which is not counted. The fastest counts."""
LONG_S = 1.5
"""Seconds after which a measurement is not repeated."""
PASSES = 3
"""The cost of a forward and a backward pass, in forward passes."""
SMALLEST = 8
"""Least rows and columns of latents that are timed."""


@dataclass(frozen=True)
class Timing:
    """Timing of a step of one process."""

    seconds: float
    words: str
    """The part that was timed."""


def affordable_flops(device: torch.device, loop: LoopRecipe) -> float:
    """Say how many multiplications and additions a timed forward pass may have.

    A backward pass is timed with it, both in the loop's precision.
    """
    is_half = loop.compute_dtype(device) is torch.bfloat16
    rate = measure_device(str(device), is_half=is_half, size=1024).flops_per_s
    return rate * BUDGET_S / PASSES


def backward(losses: Losses) -> None:
    """Add the gradients of the sum of losses to the parameters'."""
    torch.stack(list(losses.values())).sum().backward()


def time_update(model: nn.Module, loop: LoopRecipe, device: torch.device) -> float:
    """Time the optimizers on the gradients that the parameters hold."""
    optimizers = make_optimizers(model, loop, loop.compute_dtype(device))

    def work() -> None:
        for optimizer in optimizers:
            optimizer.step()

    return fastest(work, device)


def fastest(work: Callable[[], None], device: torch.device) -> float:
    """Return the seconds of the fastest of some calls after a first one, which is slower."""
    first = _seconds_of(work, device)
    times = list[float]()
    while len(times) < REPEATS and first + sum(times) < LONG_S:
        times.append(_seconds_of(work, device))
    return min(times, default=first)


def _seconds_of(work: Callable[[], None], device: torch.device) -> float:
    _wait(device)
    start = time.perf_counter()
    work()
    _wait(device)
    return time.perf_counter() - start


def _wait(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)
