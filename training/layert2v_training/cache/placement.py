"""Keep the data of every step on the device, or in host memory if the device is too small."""

import logging
from collections.abc import Iterable

import torch
from torch import Tensor, nn

log = logging.getLogger(__name__)

FREE_SHARE = 0.5
"""Share of a device's free memory that data may take. The rest is for a step's own tensors."""
COPIES_OF_TRAINED = 5
"""Parameters that learn, their gradients, two moments and the average, each as large."""


def home_of(num_bytes: int, device: torch.device, expected_bytes: int = 0) -> torch.device:
    """Choose once for all data of one kind, so that it is never on two devices.

    Args:
        num_bytes: Bytes of the data.
        device: Device that computes.
        expected_bytes: Bytes that will come to the device besides, before the first step.

    Returns:
        `device`, if the data takes less than half of what is free on it, else the CPU.
    """
    if device.type != "cuda":
        return torch.device("cpu")
    free = torch.cuda.mem_get_info(device)[0] - expected_bytes
    if num_bytes < FREE_SHARE * free:
        return device
    log.info("%d MiB stay in host memory, %d are free", num_bytes >> 20, max(free, 0) >> 20)
    return torch.device("cpu")


def num_bytes_of(tensors: Iterable[Tensor]) -> int:
    """Add up what tensors take."""
    return sum(tensor.nbytes for tensor in tensors)


def expected_bytes_of(model: nn.Module, device: torch.device) -> int:
    """Return the bytes that training a model takes on a device, beyond those it has already."""
    parameters = list(model.parameters())
    there = num_bytes_of(p for p in parameters if p.device.type == device.type)
    learning = num_bytes_of(p for p in parameters if p.requires_grad)
    return num_bytes_of(parameters) + (COPIES_OF_TRAINED - 1) * learning - there


def onto(device: torch.device, x: Tensor) -> Tensor:
    """Copy without waiting for what a device still has to do: batches are drawn meanwhile."""
    if device.type != "cuda" or x.device == device:
        return x.to(device)
    return x.pin_memory().to(device, non_blocking=True)
