"""The training loop that all programs share: step, average, log, checkpoint, resume.

It runs through `accelerate` on the CPU, one device or several, with parameters whole or split
(FSDP), as `accelerate launch` is told. A step consists of parts, one batch each, numbered over
processes and accumulation. Everything random in a part is drawn from
`torch.manual_seed(seed_of(seed, step, part))`, and the learning rate is a function of the step. So
parameters, optimizers and average are the whole state, and a resumed run equals an uninterrupted
one bit for bit. Two processes learn from the same batches as one process with twice the
accumulation.
"""

import logging
import math
import signal
import time
from collections.abc import Callable
from contextlib import nullcontext
from pathlib import Path

import torch
from accelerate import Accelerator
from torch import Tensor, nn
from torch.distributed.tensor import DTensor

from layert2v_training.learning.checkpoint import Trained, resume, save
from layert2v_training.learning.launching import check_launch
from layert2v_training.learning.non_finite import SkippedSteps
from layert2v_training.learning.optimizers import (
    Ema,
    LoopRecipe,
    learning_rate_at,
    make_optimizers,
    set_learning_rate,
)
from layert2v_training.learning.run_log import Figures, RunLog
from layert2v_training.learning.stopping import Stopped, collecting_signals, stopping_at_once

log = logging.getLogger(__name__)

Losses = dict[str, Tensor]
LossOf = Callable[[nn.Module, int], Losses]
"""From the model, as it must be called, and a step to losses by name. Their sum is minimised. Draws
its batch from PyTorch's generator, which is seeded for the part of the step."""


def seed_of(seed: int, step: int, part: int = 0) -> int:
    """Mix a run's seed, a step and a part of it into a seed for PyTorch's generator."""
    return (seed * 0x9E3779B1 + step * 0x85EBCA77 + part * 0xC2B2AE3D27D4EB4F + 1) % (1 << 62)


def train(
    folder: Path,
    model: nn.Module,
    loss_of: LossOf,
    recipe: LoopRecipe,
    *,
    evaluate: Callable[[int], Figures] | None = None,
    evaluate_every: int = 500,
    accelerator: Accelerator | None = None,
) -> Ema:
    """Train the parameters of `model` that require gradients, resuming what `folder` holds.

    Args:
        folder: Folder of this run: `checkpoint.pt`, TensorBoard events.
        model: Trained in place, on the accelerator's device, and left there.
        loss_of: Losses to minimise.
        recipe: Length, speed, precision.
        evaluate: Called with the step on averaged parameters. Its figures are logged.
        evaluate_every: Steps between evaluations.
        accelerator: Accelerator to run on; None: as `accelerate launch` says, else the first
            device.

    Returns:
        The averaged parameters. `model` holds the last ones.

    Raises:
        Stopped: SIGTERM or SIGINT came; a checkpoint was saved.
        Diverged: Nothing is finite any more. The last checkpoint is whole.
        CheckpointNotSaved: The disk is full. The last checkpoint is whole.
        CheckpointMismatch: `folder` holds another model's run.
        UnsupportedLaunch: `accelerate` splits parameters in a way that cannot be saved whole.
    """
    # --- what learns ---
    folder.mkdir(parents=True, exist_ok=True)
    accelerator = accelerator or Accelerator()
    dtype = recipe.compute_dtype(accelerator.device)
    check_launch(accelerator, dtype)
    called, *optimizers = accelerator.prepare(model, *make_optimizers(model, recipe, dtype))
    learner = accelerator.unwrap_model(called)
    trained = Trained(learner, optimizers, Ema(learner))
    first_step, is_writer = resume(folder, trained), accelerator.is_main_process

    # --- steps ---
    reports = RunLog(folder, first_step, recipe.num_steps, is_main=is_writer)
    skipped = SkippedSteps(folder, recipe)
    saved = time.monotonic()
    with collecting_signals() as caught:
        step = first_step
        for step in reports.steps():
            is_due = time.monotonic() - saved > recipe.checkpoint_seconds
            if _agreed(accelerator, is_due):
                save(folder, step, trained, is_writer=is_writer)
                saved = time.monotonic()
            losses = _gradients(step, called, trained, loss_of, recipe, accelerator, caught)
            if losses is None:
                break
            norm = _update(step, trained, recipe, accelerator, skipped)
            current = {"learning_rate": learning_rate_at(recipe, step)}
            current |= {"skipped_steps": skipped.count}
            reports.scalars(step, {**losses, "gradient_norm": norm}, current)
            if evaluate is not None and (step + 1) % evaluate_every == 0:
                reports.figures(step + 1, _on_average(step + 1, trained, evaluate, caught))
        else:
            step = recipe.num_steps
        save(folder, step, trained, is_writer=is_writer)
        reports.close()
        if _agreed(accelerator, bool(caught)):
            log.warning("%s: saved before step %d, resumes from there", folder.name, step)
            raise Stopped(caught[0] if caught else signal.SIGTERM)
    return trained.ema


def _gradients(
    step: int,
    called: nn.Module,
    trained: Trained,
    loss_of: LossOf,
    recipe: LoopRecipe,
    accelerator: Accelerator,
    caught: list[int],
) -> Losses | None:
    """Compute all parts of a step; None if a signal came before one, and the step is dropped."""
    for optimizer in trained.optimizers:
        optimizer.zero_grad(set_to_none=True)
    count, totals = recipe.gradient_accumulation, list[Losses]()
    for part in range(count):
        if _agreed(accelerator, bool(caught)):
            return None
        number = part * accelerator.num_processes + accelerator.process_index
        torch.manual_seed(seed_of(recipe.seed, step, number))
        is_last = part == count - 1
        with nullcontext() if is_last else accelerator.no_sync(called):
            with autocast(accelerator.device, recipe):
                losses = loss_of(called, step)
            total = torch.stack(list(losses.values())).sum()
            accelerator.backward(total if count == 1 else total / count)
        totals.append({name: value.detach() for name, value in losses.items()})
    return {name: torch.stack([part[name] for part in totals]).mean() for name in totals[0]}


def _update(
    step: int,
    trained: Trained,
    recipe: LoopRecipe,
    accelerator: Accelerator,
    skipped: SkippedSteps,
) -> float:
    """Move parameters and their average, if all gradients are finite. Return the gradients' norm.

    A step that is left out changes nothing. The next one has its own number, data and rate.
    """
    norm = accelerator.clip_grad_norm_(list(trained.parameters().values()), recipe.max_grad_norm)
    length = float(norm.full_tensor() if isinstance(norm, DTensor) else norm)
    if _agreed(accelerator, not math.isfinite(length)):
        skipped.add(step, length)
        return length
    skipped.end_row()
    set_learning_rate(trained.optimizers, learning_rate_at(recipe, step))
    for optimizer in trained.optimizers:
        optimizer.step()
    trained.ema.update(trained.model, min(recipe.ema_decay, (1 + step) / (10 + step)))
    return length


def autocast(device: torch.device, recipe: LoopRecipe) -> torch.autocast:
    """Compute in the precision of the recipe."""
    is_half = recipe.compute_dtype(device) is torch.bfloat16
    return torch.autocast(device.type, dtype=torch.bfloat16, enabled=is_half)


def _agreed(accelerator: Accelerator, flag: bool) -> bool:
    """Say whether any process says so, so that all act in the same step."""
    if accelerator.num_processes == 1:
        return flag
    count = accelerator.reduce(torch.tensor(float(flag), device=accelerator.device))
    return bool(count)


@torch.no_grad()
def _on_average(
    step: int, trained: Trained, evaluate: Callable[[int], Figures], caught: list[int]
) -> Figures:
    """Evaluate with averaged parameters and put the others back. A signal ends it, without figures.

    A sheet of a large model takes longer than schedulers wait between SIGTERM and SIGKILL.
    """
    kept = {name: p.detach().clone() for name, p in trained.parameters().items()}
    try:
        trained.ema.copy_to(trained.model)
        with stopping_at_once():
            return evaluate(step)
    except Stopped as stopped:
        caught.append(stopped.number)
        return {}
    finally:
        for name, parameter in trained.parameters().items():
            parameter.copy_(kept[name])
