"""The machine of absolute times."""

import os
import platform
import time
from collections import Counter
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from torch import nn


@dataclass(frozen=True)
class Machine:
    """The machine and software behind absolute times. Each row has its own precision."""

    processor: str
    """The processor's name by the operating system or the driver."""
    cores: int
    """Cores that this process may use."""
    threads: int
    """Threads of torch."""
    torch: str
    """Version of torch."""
    date: str
    """Date of the measurement, as YYYY-MM-DD."""
    card: str = ""
    """Name of the GPU that computed, by its driver. Empty if the processor did."""

    @classmethod
    def here(cls, *, card: str = "") -> "Machine":
        """Describe the machine that this process runs on.

        Args:
            card: The GPU, if one computes.
        """
        cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else None
        return cls(
            _processor(), cores or os.cpu_count() or 1, torch.get_num_threads(), torch.__version__,
            time.strftime("%Y-%m-%d"), card,
        )  # fmt: skip

    @property
    def name(self) -> str:
        """Describe it in a few words, for a table's header."""
        if self.card:
            return self.card
        cores = "1 core" if self.cores == 1 else f"{self.cores} cores"
        threads = "1 thread" if self.threads == 1 else f"{self.threads} threads"
        return f"{self.processor}, {cores}, {threads}"

    def to_json(self) -> dict[str, Any]:
        """Write it as plain JSON values."""
        return asdict(self)


def precision_of(module: nn.Module) -> str:
    """Name the precision of most of a network's weights. Some always stay float32."""
    counts: Counter[torch.dtype] = Counter()
    for parameter in module.parameters():
        counts[parameter.dtype] += parameter.numel()
    return str(counts.most_common(1)[0][0]).removeprefix("torch.")


def _processor() -> str:
    info = Path("/proc/cpuinfo")
    lines = info.read_text().splitlines() if info.is_file() else []
    models = [line.split(":")[1].strip() for line in lines if line.startswith("model name")]
    return models[0] if models else platform.machine()
