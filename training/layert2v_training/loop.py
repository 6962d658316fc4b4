"""The training loop that all programs share: step, average, log, checkpoint, resume.

It runs through `accelerate`: on the CPU, one device or several, parameters whole or split (FSDP),
as `accelerate launch` is told. A step consists of parts, one batch each, numbered over processes
and accumulation; everything random in a part is drawn from `torch.manual_seed(seed_of(seed, step,
part))`, and the learning rate is a function of the step. So parameters, optimizers and average are
all the state there is, a resumed run equals an uninterrupted one bit for bit, and two processes
learn from what one process with twice the accumulation learns from.
"""

import logging
import signal
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, nullcontext
from pathlib import Path
from types import FrameType

import torch
from accelerate import Accelerator
from torch import Tensor, nn
from torch.utils.tensorboard import SummaryWriter
from tqdm import tqdm

from layert2v_training.checkpoint import Trained, resume, save
from layert2v_training.optimizers import (
    Ema,
    LoopRecipe,
    learning_rate_at,
    make_optimizers,
    set_learning_rate,
)

log = logging.getLogger(__name__)

Losses = dict[str, Tensor]
LossOf = Callable[[nn.Module, int], Losses]
"""From the model, as it must be called, and a step to losses by name; their sum is minimised. Draws
its batch from PyTorch's generator, which is seeded for the part of the step."""
Figures = Mapping[str, float | Tensor]
"""Numbers, and pictures (3, H, W) in [0, 1], by name."""

LOG_EVERY = 20
"""Steps between scalars."""


def seed_of(seed: int, step: int, part: int = 0) -> int:
    """Mix a run's seed, a step and a part of it into a seed for PyTorch's generator."""
    return (seed * 0x9E3779B1 + step * 0x85EBCA77 + part * 0xC2B2AE3D27D4EB4F + 1) % (1 << 62)


@contextmanager
def _stop_signals() -> Iterator[list[int]]:
    """Collect SIGTERM and SIGINT instead of dying of them."""
    caught: list[int] = []

    def catch(number: int, frame: FrameType | None) -> None:
        caught.append(number)

    before = {number: signal.signal(number, catch) for number in (signal.SIGTERM, signal.SIGINT)}
    try:
        yield caught
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


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
        folder: Of this run: `checkpoint.pt`, TensorBoard events.
        model: Trained in place, on the accelerator's device, and left there.
        loss_of: What is minimised.
        recipe: Length, speed, precision.
        evaluate: Called with the step on averaged parameters; its figures are logged.
        evaluate_every: In steps.
        accelerator: Where to run; None: as `accelerate launch` says, else on the first device.

    Returns:
        The averaged parameters. `model` holds the last ones.

    Raises:
        SystemExit: SIGTERM or SIGINT came; a checkpoint was saved.
        CheckpointNotSaved: The disk is full; the last checkpoint is whole.
        CheckpointMismatch: `folder` holds another model's run.
    """
    # --- what learns ---
    folder.mkdir(parents=True, exist_ok=True)
    accelerator = accelerator or Accelerator()
    called, *optimizers = accelerator.prepare(model, *make_optimizers(model, recipe))
    learner = accelerator.unwrap_model(called)
    trained = Trained(learner, optimizers, Ema(learner))
    first_step = resume(folder, trained)

    # --- steps ---
    reports = _Reports(folder, first_step, recipe, accelerator)
    saved = time.monotonic()
    with _stop_signals() as caught:
        for step in reports.steps():
            losses = _step(step, called, trained, loss_of, recipe, accelerator)
            trained.ema.update(trained.model, min(recipe.ema_decay, (1 + step) / (10 + step)))
            reports.scalars(step, losses, learning_rate_at(recipe, step))
            if evaluate is not None and (step + 1) % evaluate_every == 0:
                reports.figures(step + 1, _on_average(step + 1, trained, evaluate))
            is_due = time.monotonic() - saved > recipe.checkpoint_seconds
            is_stopped, is_due = _agreed(accelerator, bool(caught), is_due)
            if is_stopped or is_due:
                save(folder, step + 1, trained, is_writer=accelerator.is_main_process)
                saved = time.monotonic()
            if is_stopped:
                reports.close()
                raise SystemExit(f"{folder.name}: stopped at step {step + 1}, resumes from there")
    save(folder, recipe.num_steps, trained, is_writer=accelerator.is_main_process)
    reports.close()
    return trained.ema


def _step(
    step: int,
    called: nn.Module,
    trained: Trained,
    loss_of: LossOf,
    recipe: LoopRecipe,
    accelerator: Accelerator,
) -> Losses:
    set_learning_rate(trained.optimizers, learning_rate_at(recipe, step))
    for optimizer in trained.optimizers:
        optimizer.zero_grad(set_to_none=True)
    count, totals = recipe.gradient_accumulation, list[Losses]()
    for part in range(count):
        number = part * accelerator.num_processes + accelerator.process_index
        torch.manual_seed(seed_of(recipe.seed, step, number))
        is_last = part == count - 1
        with nullcontext() if is_last else accelerator.no_sync(called):
            with autocast(accelerator.device, recipe):
                losses = loss_of(called, step)
            total = torch.stack(list(losses.values())).sum()
            accelerator.backward(total if count == 1 else total / count)
        totals.append({name: value.detach() for name, value in losses.items()})
    accelerator.clip_grad_norm_(list(trained.parameters().values()), recipe.max_grad_norm)
    for optimizer in trained.optimizers:
        optimizer.step()
    return {name: torch.stack([part[name] for part in totals]).mean() for name in totals[0]}


def autocast(device: torch.device, recipe: LoopRecipe) -> torch.autocast:
    """Compute in the precision of the recipe."""
    dtype = recipe.autocast_dtype
    return torch.autocast(device.type, dtype=dtype or torch.bfloat16, enabled=dtype is not None)


def _agreed(accelerator: Accelerator, *flags: bool) -> list[bool]:
    """Let every process know what any of them knows, so that they act in the same step."""
    if accelerator.num_processes == 1:
        return list(flags)
    counts = accelerator.reduce(torch.tensor(flags, device=accelerator.device).float())
    return [bool(count) for count in counts]


@torch.no_grad()
def _on_average(step: int, trained: Trained, evaluate: Callable[[int], Figures]) -> Figures:
    """Evaluate with averaged parameters and put the others back."""
    kept = {name: p.detach().clone() for name, p in trained.parameters().items()}
    trained.ema.copy_to(trained.model)
    figures = evaluate(step)
    for name, parameter in trained.parameters().items():
        parameter.copy_(kept[name])
    return figures


class _Reports:
    """What a person sees of a run: a bar with the time left, and TensorBoard, of one process."""

    def __init__(
        self, folder: Path, first_step: int, recipe: LoopRecipe, accelerator: Accelerator
    ) -> None:
        is_main = accelerator.is_main_process
        self._writer = SummaryWriter(str(folder)) if is_main else None
        self._last, self._num_steps = (first_step, time.monotonic()), recipe.num_steps
        self._bar = tqdm(
            range(first_step, recipe.num_steps), initial=first_step, total=recipe.num_steps,
            mininterval=20, maxinterval=60, desc=folder.name, ascii=True, disable=not is_main,
        )  # fmt: skip

    def steps(self) -> Iterator[int]:
        """Yield the steps to make."""
        yield from self._bar

    def scalars(self, step: int, losses: Losses, learning_rate: float) -> None:
        """Write losses, rate, throughput and the hours left, now and then."""
        if step % LOG_EVERY or self._writer is None:
            return
        values = {name: float(value) for name, value in losses.items()}
        self._bar.set_postfix({name: f"{value:.4f}" for name, value in values.items()})
        before, then = self._last
        self._last = (step, time.monotonic())
        if step > before:
            rate = (step - before) / max(self._last[1] - then, 1e-9)
            values["steps_per_second"] = rate
            values["hours_left"] = (self._num_steps - step) / rate / 3600
        for name, value in (values | {"learning_rate": learning_rate}).items():
            self._writer.add_scalar(name, value, step)

    def figures(self, step: int, figures: Figures) -> None:
        """Write what an evaluation found."""
        if self._writer is None:
            return
        numbers = {k: v for k, v in figures.items() if not isinstance(v, Tensor)}
        for name, figure in figures.items():
            if isinstance(figure, Tensor):
                self._writer.add_image(f"evaluate/{name}", figure, step)
            else:
                self._writer.add_scalar(f"evaluate/{name}", figure, step)
        if numbers:
            tqdm.write(f"step {step}: " + ", ".join(f"{k} {v:.3f}" for k, v in numbers.items()))

    def close(self) -> None:
        """Write what is left."""
        if self._writer is not None:
            self._writer.close()
