"""Peak memory of one call, by the process's high-water mark, which Linux lets a process reset.

Freed memory that the allocator keeps hides later peaks; `KEPT_BACK` in the environment of a
process, set before it starts, lets large tensors go back to the system at once.
"""

import gc
from collections.abc import Callable
from pathlib import Path

KEPT_BACK = {"MALLOC_MMAP_THRESHOLD_": "262144", "MALLOC_TRIM_THRESHOLD_": "262144"}
"""glibc: tensors of 256 KiB and more are mapped by themselves."""


def extra_peak_bytes(call: Callable[[], object]) -> int:
    """Return how far resident memory rose above what it was while `call` ran (VmHWM - VmRSS)."""
    gc.collect()
    # Source: proc(5), clear_refs: 5 resets the peak of the resident set.
    Path("/proc/self/clear_refs").write_text("5")
    before = _status_bytes("VmRSS")
    call()
    return max(0, _status_bytes("VmHWM") - before)


def _status_bytes(name: str) -> int:
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) * 1024 for line in lines if line.startswith(name))
