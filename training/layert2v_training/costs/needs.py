"""The needs of a stage for a device, main memory and a disk, in numbers and in words."""

import re
from dataclasses import dataclass

from layert2v_model.cost.device import Device
from layert2v_training.cache.placement import FREE_SHARE
from layert2v_training.runs.overrides import InvalidRecipe


class DoesNotFit(Exception):
    """Raised when a stage needs more memory or disk than there is. It names both and the remedy."""


@dataclass(frozen=True)
class Phase:
    """A part of a stage, and the most that is alive in it, without what is stored."""

    name: str
    """Name of the phase, as in "needs N GiB for NAME"."""
    device_bytes: int
    """On the device that computes."""
    host_bytes: int = 0
    """Bytes in main memory, in each process. Where the processor computes it is the same memory."""
    has_stored: bool = True
    """Whether what is stored is in memory already."""


@dataclass(frozen=True)
class Needs:
    """The needs of a stage."""

    num_parameters: int
    num_trained: int
    num_tokens: int
    """Tokens of the longest clip, or 0 where there are none."""
    phases: tuple[Phase, ...]
    """Phases in their order."""
    stored_bytes: int
    """Data that every step reads: on the device where it takes less than half of what the model
    leaves free there, else in main memory."""
    disk_bytes: int
    """Cached latents that are missing, and two checkpoints while one replaces the other."""
    model_bytes: int = 0
    """Bytes that the model and its training state take of the device before data comes to it."""

    def is_stored_on(self, device: Device) -> bool:
        """Say whether stored data goes to the device, as `placement.home_of` chooses."""
        free = device.memory_bytes - self.model_bytes
        return device.is_host or self.stored_bytes < FREE_SHARE * free

    def fullest(self, device: Device) -> tuple[Phase, int]:
        """Return the phase that needs most of the device, and how many bytes."""
        return max(((phase, self._on(device, phase)) for phase in self.phases), key=_second)

    def too_large(self, device: Device) -> dict[str, int]:
        """Return what the phases that do not fit the device need of it, by name."""
        needed = {phase.name: self._on(device, phase) for phase in self.phases}
        return {name: size for name, size in needed.items() if size > device.memory_bytes}

    def on_device(self, device: Device) -> int:
        """Count the bytes that the device must hold."""
        return self.fullest(device)[1]

    def _on(self, device: Device, phase: Phase) -> int:
        is_there = phase.has_stored and self.is_stored_on(device)
        host = phase.host_bytes if device.is_host else 0
        return phase.device_bytes + host + (self.stored_bytes if is_there else 0)

    def in_main_memory(self, device: Device) -> tuple[Phase, int]:
        """Return the phase that needs most of main memory beside a device, and how many bytes."""
        stored = 0 if self.is_stored_on(device) else self.stored_bytes

        def of(phase: Phase) -> int:
            return phase.host_bytes + (stored if phase.has_stored else 0)

        return max(((phase, of(phase)) for phase in self.phases), key=_second)

    def report(self, device: Device) -> list[str]:
        """Say it in lines."""
        phase, most = self.fullest(device)
        others = ", ".join(
            f"{other.name} {gib(self._on(device, other))}"
            for other in self.phases
            if other is not phase
        )
        lines = [
            f"parameters      {self.num_parameters:,} of which {self.num_trained:,} learn",
            f"tokens a clip   {self.num_tokens:,}" if self.num_tokens else "tokens a clip   none",
            f"memory          {gib(most)} while {phase.name} ({others}); "
            f"{device.name} has {gib(device.memory_bytes)} free",
        ]
        if not device.is_host:
            host = max(self.phases, key=lambda phase: phase.host_bytes)
            stored = "" if self.is_stored_on(device) else f", and {gib(self.stored_bytes)} of clips"
            lines.append(
                f"main memory     {gib(host.host_bytes)} in each process while {host.name}{stored}"
            )
        return [*lines, f"disk            {gib(self.disk_bytes)}"]


def _second(pair: tuple[Phase, int]) -> int:
    return pair[1]


_UNITS = {"": 1, "K": 1 << 10, "M": 1 << 20, "G": 1 << 30, "T": 1 << 40}


def parse_bytes(text: str) -> int:
    """Read a size such as `24GiB`, `24G` or a number of bytes. GB count as GiB.

    Raises:
        InvalidRecipe: It is none.
    """
    found = re.fullmatch(r"\s*(\d+(?:\.\d+)?)\s*([KMGT]?)(?:i?B)?\s*", text, re.IGNORECASE)
    if found is None or float(found[1]) <= 0:
        raise InvalidRecipe(f"--device-memory {text} is not a size; write 24GiB, for example")
    return int(float(found[1]) * _UNITS[found[2].upper()])


def gib(num_bytes: float) -> str:
    """Say a number of bytes in GiB."""
    return f"{num_bytes / 2**30:.2f} GiB"
