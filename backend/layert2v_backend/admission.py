"""Decides before queueing whether a shot can fit the device at all. No torch."""

from dataclasses import replace
from functools import lru_cache
from pathlib import Path

import psutil
import pynvml

from layert2v_backend.errors import FieldViolation, InvalidShot, ModelDamaged
from layert2v_backend.models import Limits, Model
from layert2v_domain.shot import Shot
from layert2v_model.cost.device import Device, measure_device
from layert2v_model.cost.estimate import Estimate, ModelSize, estimate
from layert2v_model.cost.plan import Plan, plan
from layert2v_model.cost.precision import Choice, decide_precision, default_device
from layert2v_model.errors import reason_of
from layert2v_model.shot import ShotFormat

_LEAST_BYTES = 2
"""Size of one number inside the transformer, at best. Only the worker knows its true precision."""


def find_device(memory_bytes: int) -> Device:
    """Describe the device of the worker: the first NVIDIA GPU, else this computer.

    Args:
        memory_bytes: Memory that jobs may use. 0 means all memory of the device.
    """
    try:
        pynvml.nvmlInit()
    except pynvml.NVMLError:
        return Device("this computer", memory_bytes or psutil.virtual_memory().total, is_host=True)
    try:
        handle = pynvml.nvmlDeviceGetHandleByIndex(0)
        total = int(pynvml.nvmlDeviceGetMemoryInfo(handle).total)
        return Device(str(pynvml.nvmlDeviceGetName(handle)), memory_bytes or total)
    finally:
        pynvml.nvmlShutdown()


def format_of(shot: Shot) -> ShotFormat:
    """Give the format of a shot whose defaults are filled in, as the model takes it."""
    return ShotFormat(
        width=shot.width,
        height=shot.height,
        num_frames=shot.num_frames,
        num_foregrounds=len(shot.layers) - 1,
        num_inference_steps=shot.num_inference_steps,
        guidance_scale=shot.guidance_scale,
    )


def default_format(
    limits: Limits,
    width: int,
    height: int,
    num_frames: int,
    num_foregrounds: int,
    num_inference_steps: int,
) -> ShotFormat:
    """Give the format of a shot of a model. A 0 takes the model's default."""
    return ShotFormat(
        width=width or limits.sizes[0][0],
        height=height or limits.sizes[0][1],
        num_frames=num_frames or limits.num_frames[0],
        num_foregrounds=num_foregrounds,
        num_inference_steps=num_inference_steps or limits.default_num_inference_steps,
        guidance_scale=limits.default_guidance_scale,
    )


def estimate_shot(
    shot: ShotFormat,
    model: Model,
    memory_bytes: int,
    precision: Choice = "auto",
) -> tuple[Estimate, Plan, str]:
    """Measure the device, then give the cost of a shot there and how it fits. Loads torch.

    Args:
        shot: The format of the shot.
        model: The model that generates it.
        memory_bytes: The same as for `find_device`.
        precision: The worker's precision setting.

    Returns:
        The cost, how the shot fits, and a sentence about the precision.

    Raises:
        ModelDamaged: The model's folder cannot be measured.
    """
    found, device = find_device(memory_bytes), default_device()
    chosen = decide_precision(precision, device)
    try:
        size = ModelSize.read(model.folder, chosen.bytes_per_number)
    except (OSError, ValueError, KeyError) as failure:
        reason = reason_of(failure, model.folder)
        message = f"{model.folder} cannot be measured ({reason}): install the model again"
        raise ModelDamaged(message) from failure
    measured = measure_device(str(device), is_half=chosen.name == "bfloat16")
    timed = replace(found, flops_per_s=measured.flops_per_s)
    return estimate(shot, size, timed), plan(shot, size, timed), chosen.sentence


def check_memory(shot: Shot, model_folder: Path, device: Device) -> None:
    """Refuse a shot that cannot fit the device in any way.

    A model that cannot be measured is left to the worker, which reports the fault.

    Raises:
        InvalidShot: It does not fit. The message says how much it needs, how much memory there is,
            and which shot would fit.
    """
    try:
        chosen = plan(format_of(shot), _model_size(model_folder), device)
    except (OSError, ValueError, KeyError):
        return
    if not chosen.fits:
        violation = FieldViolation("shot", chosen.sentence)
        raise InvalidShot(f"shot: {chosen.sentence}", [violation])


@lru_cache(maxsize=64)
def _model_size(folder: Path) -> ModelSize:
    return ModelSize.read(folder, _LEAST_BYTES)
