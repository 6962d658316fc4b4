"""Describes a task's failure to the artist, without Python's texts and the server's paths."""

import os
import re
from pathlib import Path

import torch

from layert2v_backend.faults import DISK_ERRORS, STATE_FOLDER, fault_of
from layert2v_backend.worker_protocol import DEVICE_FAILED, Task
from layert2v_domain.job import JobError
from layert2v_media.errors import UnreadableMedia
from layert2v_model.errors import DamagedModel, InvalidShot, NotFinite

_REASONS: dict[type[Exception], str] = {
    DamagedModel: "MODEL_DAMAGED",
    InvalidShot: "INVALID_SHOT",
    UnreadableMedia: "DATA_LOSS",
    NotFinite: "NOT_FINITE",
}
"""Errors of the model's library whose messages name the fault and the remedy."""
_FOLDERS = re.compile(r"(?<![\w.])(?:[A-Za-z]:)?[\\/](?:[^\s\\/:;,()'\"]+[\\/])+")
"""Matches the folders of an absolute path, on any system, up to a space."""


def device_error(failure: Exception) -> JobError | None:
    """Say that the device has failed for good, or give None if it still computes.

    After an illegal access, a failed assertion or a memory error, a device answers every later call
    of the process with the same error. So this function asks it for a sum.
    """
    if not _is_device_used():
        return None
    try:
        _compute_on_device()
    except torch.OutOfMemoryError:
        return None
    except RuntimeError as still:
        return JobError(
            DEVICE_FAILED,
            f"its device failed ({_first_line(failure)}; then {_first_line(still)}): if that "
            f"happens again, see worker.log and the system's log, or restart the machine",
        )
    return None


def _place_of(failure: OSError, task: Task) -> str:
    """Name the file of an error, unless it lies in the store."""
    path = Path(str(failure.filename)) if failure.filename else Path(task.store)
    return STATE_FOLDER if path.is_relative_to(task.store) else f"the file {path.name}"


def _is_device_used() -> bool:
    return torch.cuda.is_initialized()


def _compute_on_device() -> None:
    torch.ones(1, device="cuda").sum().item()


def _first_line(failure: Exception) -> str:
    return str(failure).partition("\n")[0]


def error_of(failure: Exception, task: Task) -> JobError:
    """Give the reason of a failure, and the sentence with its remedy."""
    for kind, reason in _REASONS.items():
        if isinstance(failure, kind):
            return JobError(reason, without_paths(str(failure), task))
    if isinstance(failure, OSError) and failure.errno in DISK_ERRORS:
        fault = fault_of(failure, _place_of(failure, task))
        return JobError(fault.reason, fault.message)
    if isinstance(failure, torch.OutOfMemoryError | MemoryError):
        message = (
            f"{task.shot.width} x {task.shot.height} pixels, {task.shot.num_frames} frames and "
            f"{len(task.shot.layers)} layers do not fit into memory: make the shot smaller"
        )
        return JobError("OUT_OF_MEMORY", message)
    message = (
        "the worker met a fault of its own: try again, and if it stays report it with worker.log "
        "from the state folder"
    )
    return JobError("INTERNAL", message)


def without_paths(message: str, task: Task) -> str:
    """Leave only the last part of the server's paths in a message for clients."""
    for folder in (Path(task.model_folder).parent, Path(task.store)):
        message = message.replace(f"{folder}{os.sep}", "")
    return _FOLDERS.sub("", message)
