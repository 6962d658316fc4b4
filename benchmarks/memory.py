"""Peak memory of one call, by the process's high-water mark. Linux lets a process reset it."""

import ctypes
import gc
from collections.abc import Callable
from pathlib import Path

M_TRIM_THRESHOLD, M_MMAP_THRESHOLD = -1, -3
"""Number of the option. Source: glibc's malloc.h."""

MAPPED_BYTES = 256 * 1024
"""Tensors of this size and more are mapped by themselves while a peak is measured."""


def extra_peak_bytes(call: Callable[[], object]) -> int:
    """Return the rise of resident memory while `call` ran (VmHWM - VmRSS).

    From then on the process gives freed memory back at once, because memory that the allocator
    keeps would hide peaks. That costs page faults, so measure times before peaks.
    """
    gc.collect()
    libc = ctypes.CDLL(None)
    for option in (M_TRIM_THRESHOLD, M_MMAP_THRESHOLD):
        libc.mallopt(option, MAPPED_BYTES)
    libc.malloc_trim(0)
    # Source: proc(5), clear_refs: 5 resets the peak of the resident set.
    Path("/proc/self/clear_refs").write_text("5")
    before = _status_bytes("VmRSS")
    call()
    return max(0, _status_bytes("VmHWM") - before)


def _status_bytes(name: str) -> int:
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) * 1024 for line in lines if line.startswith(name))
