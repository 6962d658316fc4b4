"""A run's checkpoint, one file with everything to resume. It is whole, or it is not there.

Parameters, optimizers' state and averages are stored as whole tensors by name, even where processes
split them. So a run may go on with another number of processes.
"""

import os
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.distributed.tensor import DTensor, distribute_tensor
from torch.utils import _pytree as pytree

from layert2v_model.errors import reason_of
from layert2v_model.files.durable import sync_folder
from layert2v_training.learning.non_finite import Diverged
from layert2v_training.learning.optimizers import Ema

CHECKPOINT = "checkpoint.pt"


class CheckpointNotSaved(OSError):
    """Raised when a checkpoint cannot be written. The last one is untouched."""


class CheckpointMismatch(ValueError):
    """Raised when a checkpoint belongs to another model."""


@dataclass(frozen=True, eq=False)
class Trained:
    """The state that a run changes."""

    model: nn.Module
    """The model as the program made it, its parameters whole or split."""
    optimizers: list[torch.optim.Optimizer]
    ema: Ema

    def parameters(self) -> dict[str, nn.Parameter]:
        """Name the parameters that learn."""
        return {name: p for name, p in self.model.named_parameters() if p.requires_grad}


def save(folder: Path, step: int, trained: Trained, *, is_writer: bool = True) -> None:
    """Write the checkpoint beside the last one and swap, so that a kill leaves one of them.

    Every process calls it, because split tensors are joined by all.

    Args:
        folder: Folder of the run.
        step: The next to be made.
        trained: Its state.
        is_writer: Whether this process writes. One does.

    Raises:
        CheckpointNotSaved: The disk is full or the folder cannot be written.
        Diverged: Something in it is not finite, in every process. Nothing is written.
    """
    state = {
        "step": step,
        "parameters": trained.parameters(),
        "optimizers": [optimizer.state_dict() for optimizer in trained.optimizers],
        "ema": trained.ema.shadow,
    }

    def joined(tensor: Tensor) -> Tensor | None:
        """Join one tensor on the device and keep it in host memory, where it is written only."""
        whole = tensor.detach()
        whole = whole.full_tensor() if isinstance(whole, DTensor) else whole
        if not whole.isfinite().all():
            raise Diverged(
                f"{folder.name}: parameters or moments are not finite before step {step}, so "
                f"they were not saved and {CHECKPOINT} is as it was; lower loop.learning_rate and "
                f"run the same command again"
            )
        return whole.cpu() if is_writer else None

    whole = pytree.tree_map_only(Tensor, joined, state)
    if is_writer:
        _write(folder / CHECKPOINT, whole)


def _write(path: Path, state: dict[str, Any]) -> None:
    partial = path.with_name(f"{path.name}.part")
    try:
        with partial.open("wb") as file:
            torch.save(state, file)
            file.flush()
            os.fsync(file.fileno())
        partial.replace(path)
        sync_folder(path.parent)
    # torch's writer turns a failed write into a RuntimeError.
    except (OSError, RuntimeError) as error:
        partial.unlink(missing_ok=True)
        free = shutil.disk_usage(path.parent).free / 2**20
        before = "the last checkpoint is whole" if path.is_file() else "there is none before it"
        raise CheckpointNotSaved(
            f"{path} cannot be written ({reason_of(error, partial)}) with {free:.0f} MiB free; "
            f"{before}: make room and run the same command again"
        ) from error


@torch.no_grad()
def resume(folder: Path, trained: Trained) -> int:
    """Read the run's checkpoint into `trained` and return the step to go on with; 0 without one.

    Raises:
        CheckpointMismatch: It is of another model.
    """
    path = folder / CHECKPOINT
    if not path.is_file():
        return 0
    parameters = trained.parameters()
    # Mapped: every process reads its own parts, one tensor after another.
    state = torch.load(path, weights_only=True, map_location="cpu", mmap=True)
    _check(path, state["parameters"], parameters)
    for name, parameter in parameters.items():
        parameter.copy_(_split_as(parameter, state["parameters"][name]))
        trained.ema.shadow[name].copy_(_split_as(parameter, state["ema"][name]))
    for optimizer, stored in zip(trained.optimizers, state["optimizers"], strict=True):
        optimizer.load_state_dict(_split_state(optimizer, stored))
    return int(state["step"])


def _check(path: Path, stored: dict[str, Tensor], parameters: dict[str, nn.Parameter]) -> None:
    if stored.keys() != parameters.keys():
        name = sorted(stored.keys() ^ parameters.keys())[0]
        raise CheckpointMismatch(
            f"{path} is of another model, {name} is in one of them only; use another run folder"
        )
    for name, parameter in parameters.items():
        if stored[name].shape != parameter.shape:
            raise CheckpointMismatch(
                f"{path} is of another model, its {name} is {tuple(stored[name].shape)} and not "
                f"{tuple(parameter.shape)}; use another run folder"
            )


def _split_as(parameter: Tensor, whole: Tensor) -> Tensor:
    """Copy a whole tensor to where `parameter` is, split as it is, if it is."""
    if not isinstance(parameter, DTensor):
        return whole.to(parameter.device, copy=True)
    mesh, placements = parameter.device_mesh, parameter.placements
    # All have the whole one, so each takes its part and nothing is sent.
    return distribute_tensor(whole, mesh, placements, src_data_rank=None)


def _split_state(optimizer: torch.optim.Optimizer, stored: dict[str, Any]) -> dict[str, Any]:
    """Split an optimizer's stored moments as its parameters are."""
    parameters = [p for group in optimizer.param_groups for p in group["params"]]
    split = {
        index: {
            name: _split_as(parameters[index], value)
            if isinstance(value, Tensor) and value.shape == parameters[index].shape
            else value
            for name, value in moments.items()
        }
        for index, moments in stored["state"].items()
    }
    return {**stored, "state": split}
