"""A device that a shot is to run on: its free memory, and its measured rate."""

import math
import time
from dataclasses import dataclass


@dataclass(frozen=True)
class Device:
    """A device that a shot is to run on."""

    name: str
    """The device's name, for messages."""
    memory_bytes: int
    """Free for this job."""
    flops_per_s: float = math.nan
    """Measured on matrices in the transformer's precision; NaN: not measured."""
    is_host: bool = False
    """Whether it computes in main memory, so that nothing can be offloaded from it."""


def measure_device(name: str, *, is_half: bool = False, size: int = 2048) -> Device:
    """Measure a device's free memory and its rate on square matrices, in under a second.

    Args:
        name: As torch names it: `cpu`, `cuda`, `cuda:1`.
        is_half: In bfloat16 instead of float32.
        size: Rows of the matrices. Small ones measure the caller's overhead.
    """
    import psutil
    import torch

    a = torch.ones(size, size, device=name, dtype=torch.bfloat16 if is_half else torch.float32)
    times = []
    for _ in range(4):
        start = time.perf_counter()
        (a @ a)[0, 0].item()
        times.append(time.perf_counter() - start)
    is_host = torch.device(name).type == "cpu"
    free = psutil.virtual_memory().available if is_host else torch.cuda.mem_get_info(name)[0]
    return Device(name, free, 2 * size**3 / min(times), is_host)
