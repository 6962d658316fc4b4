"""The needs of a stage before it starts: parameters, tokens, memory, disk, steps per second.

No picture is read, no weight is loaded and no step is made. The user's clips are opened, as the
stage would open them. The device need not be there: its memory can be said instead.
"""

import shutil
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import psutil
import torch
from accelerate import PartialState

from layert2v_model.cost.device import Device
from layert2v_training.costs.decoder_time import time_alpha_vae, time_vae
from layert2v_training.costs.joint_needs import joint_needs
from layert2v_training.costs.needs import DoesNotFit, Needs, gib
from layert2v_training.costs.network_time import time_joint
from layert2v_training.costs.parts import StageParts, bytes_of
from layert2v_training.costs.timing import Timing
from layert2v_training.costs.vae_needs import alpha_vae_needs, vae_needs
from layert2v_training.runs.run import Run
from layert2v_training.runs.run_precision import loops_of

_TIMED_COPIES = 4
"""Copies of one block's weights that timing needs: themselves, gradients and moments."""


@dataclass(frozen=True)
class _Answer:
    lines: list[str]
    needs: Needs
    hours: float | None
    refusal: str | None


def describe(run: Run, stages: str | Sequence[str], device_memory: int | None = None) -> str:
    """Describe the needs of stages.

    Args:
        run: Run of the recipe.
        stages: One, or several of a run, whose sums are said too.
        device_memory: Bytes of a GPU that is not here; None: the device is the run's own.

    Raises:
        DoesNotFit: Memory or disk are too small for one of them.
        BadClips: The user's clips cannot be used.
    """
    several = (stages,) if isinstance(stages, str) else tuple(stages)
    device, parts = _device(device_memory), StageParts(run)
    answers = [_answer(parts, stage, device, is_here=device_memory is None) for stage in several]
    lines = ["\n".join(answer.lines) for answer in answers]
    if len(answers) > 1:
        lines.append(_sums(answers, device))
    report = "\n\n".join(lines)
    refusals = [answer.refusal for answer in answers if answer.refusal]
    if refusals:
        raise DoesNotFit("\n".join([report, *refusals]))
    return report


def check_fits(run: Run, stage: str) -> None:
    """Refuse a stage that cannot fit before it makes anything.

    Several processes may split what one would have to hold, and are not checked.

    Raises:
        DoesNotFit: Memory or disk are too small.
        BadClips: The user's clips cannot be used.
    """
    if PartialState().num_processes > 1:
        return
    answer = _answer(StageParts(run), stage, _device(None), is_timed=False)
    if answer.refusal:
        raise DoesNotFit("\n".join([*answer.lines, answer.refusal]))


def _device(memory_bytes: int | None) -> Device:
    if memory_bytes is not None:
        return Device("the device", memory_bytes)
    if torch.cuda.is_available():
        name = torch.cuda.get_device_name()
        return Device(name, torch.cuda.mem_get_info()[0])
    return Device("this computer", psutil.virtual_memory().available, is_host=True)


def needs_of(parts: StageParts, stage: str) -> Needs:
    """Describe the needs of a stage.

    Raises:
        BadClips: The user's clips cannot be used.
    """
    if stage == "vae":
        return vae_needs(parts)
    return alpha_vae_needs(parts) if stage == "alpha-vae" else joint_needs(parts, stage)


def _answer(
    parts: StageParts, stage: str, device: Device, *, is_here: bool = True, is_timed: bool = True
) -> _Answer:
    needs, loop = needs_of(parts, stage), loops_of(parts.run.recipe)[stage]
    lines = [
        f"stage {stage}, {loop.num_steps} steps on {device.name}",
        *needs.report(device),
    ]
    hours, found = None, _timing(parts, stage, device) if is_here and is_timed else None
    if isinstance(found, Timing):
        hours = found.seconds * loop.num_steps / 3600
        lines += _speed(found, loop.num_steps)
    elif found is not None:
        lines.append(f"speed           unknown: {found}")
    elif not is_here:
        lines.append("speed           unknown: the device is not here to be timed")
    refusal = next(_refusals(stage, needs, device, parts.run.out, is_here=is_here), None)
    return _Answer(lines, needs, hours, refusal)


def _timing(parts: StageParts, stage: str, device: Device) -> Timing | str:
    """Time a step, or say why it cannot be timed."""
    if stage in ("joint", "multi-foreground"):
        with torch.device("meta"):
            block = bytes_of(parts.make_transformer(parts.run.stage(stage), 1))
        if _TIMED_COPIES * block > device.memory_bytes:
            return (
                f"one block takes {gib(_TIMED_COPIES * block)} to time, and {device.name} is full"
            )
    device_here = PartialState().device
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        if stage == "vae":
            return time_vae(parts, device_here)
        if stage == "alpha-vae":
            return time_alpha_vae(parts, device_here)
        return time_joint(parts, stage, device_here)


def _speed(timing: Timing, num_steps: int) -> list[str]:
    return [
        f"speed           {timing.seconds:.3g} s a step ({1 / timing.seconds:.3g} steps a second), "
        f"{duration(timing.seconds * num_steps)} for {num_steps} steps",
        f"                without making clips, latents and sheets; {timing.words}",
    ]


def _sums(answers: Sequence[_Answer], device: Device) -> str:
    hours = [answer.hours for answer in answers if answer.hours is not None]
    disk = sum(answer.needs.disk_bytes for answer in answers)
    most = max(answer.needs.on_device(device) for answer in answers)
    lines = [
        f"all {len(answers)} stages, without teaching the decoders at the end",
        f"memory          {gib(most)} at most",
        f"disk            {gib(disk)}",
    ]
    if len(hours) == len(answers):
        lines.append(f"time            {duration(3600 * sum(hours))} of steps")
    return "\n".join(lines)


def duration(seconds: float) -> str:
    """Say a time in the unit that fits."""
    if seconds < 1:
        return "less than 1 s"
    if seconds < 120:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 7200 else f"{seconds / 3600:.1f} hours"


_REMEDIES = {
    "training": "set a smaller batch_size with more loop.gradient_accumulation, "
    "gradient_checkpointing=true, or lora, or split parameters over devices (FSDP)",
    "making sheets": "set sheet_every=0",
    "encoding clips": "encode by --workers 1, in main memory, or choose a smaller size",
    "fitting the encoder": "set fewer vae_clips",
    "drawing mattes": "set fewer alpha_vae.num_clips",
}
"""Remedies, by phase."""


def _refusals(
    stage: str, needs: Needs, device: Device, out: Path, *, is_here: bool
) -> Iterator[str]:
    """Say what does not fit and what helps."""
    if too_large := needs.too_large(device):
        needed = " and ".join(f"{gib(size)} while {name}" for name, size in too_large.items())
        remedies = [_REMEDIES.get(name, "choose a smaller size") for name in too_large]
        yield (
            f"stage {stage} needs {needed}, {device.name} has {gib(device.memory_bytes)} free; "
            f"{'; '.join(dict.fromkeys(remedies))}; or start anyway with --ignore-fit"
        )
    if not is_here:
        return
    phase, taken = needs.in_main_memory(device)
    available = psutil.virtual_memory().available
    if not device.is_host and taken > available:
        yield (
            f"stage {stage} needs {gib(taken)} of main memory in each process while "
            f"{phase.name}, {gib(available)} are free; set fewer num_clips, use a computer with "
            f"more, or start anyway with --ignore-fit"
        )
    existing = next(path for path in (out.resolve(), *out.resolve().parents) if path.exists())
    free = shutil.disk_usage(existing).free
    if needs.disk_bytes > free:
        yield (
            f"stage {stage} needs {gib(needs.disk_bytes)} on disk, {existing} has {gib(free)}; "
            f"make room, choose another --out, set fewer num_clips, or start anyway with "
            "--ignore-fit"
        )
