"""The training loop that all programs share: step, average, log, checkpoint, resume.

Everything random in a step is drawn from `torch.manual_seed(seed_of(seed, step))`, and the learning
rate is a function of the step; so parameters, optimizer and average are all the state there is, and
a resumed run equals an uninterrupted one bit for bit.
"""

import math
import os
import signal
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import FrameType

import torch
from torch import Tensor, nn
from torch.utils.tensorboard import SummaryWriter
from tqdm import tqdm

CHECKPOINT = "checkpoint.pt"
Losses = dict[str, Tensor]


@dataclass(frozen=True)
class LoopRecipe:
    """How long and how fast to train."""

    num_steps: int
    learning_rate: float
    """Peak of the schedule: linear warm-up, then cosine to 5 %."""
    muon_scale: float = 0.0
    """Where above 0, matrices of repeated blocks learn by Muon at this multiple of the rate, the
    rest by AdamW. Source: Jordan et al., "Muon", 2024; scaled as in Liu et al., "Muon is scalable
    for LLM training", 2025, so that the rates of both are comparable."""
    warmup_steps: int = 100
    weight_decay: float = 0.0
    max_grad_norm: float = 1.0
    ema_decay: float = 0.999
    """Decay of the averaged parameters; ramps up as (1 + step) / (10 + step)."""
    seed: int = 0
    checkpoint_seconds: float = 120.0
    autocast_dtype: torch.dtype | None = torch.bfloat16
    """None: train in float32."""


def seed_of(seed: int, step: int) -> int:
    """Mix a run's seed and a step into a seed for PyTorch's generator."""
    return (seed * 0x9E3779B1 + step * 0x85EBCA77 + 1) % (1 << 62)


def learning_rate_at(recipe: LoopRecipe, step: int) -> float:
    """Linear warm-up, then half a cosine down to 5 % of the peak at the last step."""
    warm = min(1.0, (step + 1) / max(1, recipe.warmup_steps))
    progress = min(1.0, step / max(1, recipe.num_steps))
    return recipe.learning_rate * warm * (0.05 + 0.95 * 0.5 * (1 + math.cos(math.pi * progress)))


def make_optimizers(model: nn.Module, recipe: LoopRecipe) -> list[torch.optim.Optimizer]:
    """Make the optimizers of a run; each group says its multiple of the rate as `lr_scale`."""
    trained = {name: p for name, p in model.named_parameters() if p.requires_grad}
    matrices = [
        p for name, p in trained.items() if recipe.muon_scale and "blocks." in name and p.ndim == 2
    ]
    chosen = {id(p) for p in matrices}
    rest = [p for p in trained.values() if id(p) not in chosen]
    optimizers: list[torch.optim.Optimizer] = [
        torch.optim.AdamW(
            [{"params": rest, "lr_scale": 1.0}],
            recipe.learning_rate,
            betas=(0.9, 0.99),
            weight_decay=recipe.weight_decay,
        )
    ]
    if matrices:
        group = {"params": matrices, "lr_scale": recipe.muon_scale}
        optimizers.append(
            torch.optim.Muon(
                [group],
                recipe.learning_rate,
                weight_decay=recipe.weight_decay,
                adjust_lr_fn="match_rms_adamw",
            )
        )
    return optimizers


class Ema:
    """Average of trained parameters, kept and restored by name."""

    def __init__(self, model: nn.Module) -> None:
        self.shadow = {
            name: value.detach().clone()
            for name, value in model.named_parameters()
            if value.requires_grad
        }

    @torch.no_grad()
    def update(self, model: nn.Module, decay: float) -> None:
        """Move the average towards the model's parameters."""
        parameters = dict(model.named_parameters())
        averages = list(self.shadow.values())
        values: list[Tensor] = [parameters[name] for name in self.shadow]
        torch._foreach_lerp_(averages, values, 1 - decay)

    @torch.no_grad()
    def copy_to(self, model: nn.Module) -> None:
        """Overwrite the model's parameters with their averages."""
        parameters = dict(model.named_parameters())
        for name, value in self.shadow.items():
            parameters[name].copy_(value)


class _Stop:
    """Set by SIGTERM and SIGINT: the loop then saves and ends."""

    def __init__(self) -> None:
        self.is_set = False
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, self._set)

    def _set(self, number: int, frame: FrameType | None) -> None:
        self.is_set = True


def train(
    folder: Path,
    model: nn.Module,
    loss_of: Callable[[int], Losses],
    recipe: LoopRecipe,
    *,
    evaluate: Callable[[int], Mapping[str, float]] | None = None,
    evaluate_every: int = 500,
    device: torch.device | None = None,
) -> Ema:
    """Train the parameters of `model` that require gradients, resuming what `folder` holds.

    Args:
        folder: Of this run: `checkpoint.pt`, TensorBoard events.
        model: Trained in place.
        loss_of: From a step's number to its losses by name; their sum is minimised. Draws its
            batch from PyTorch's generator, which is seeded for the step.
        recipe: Length, speed, precision.
        evaluate: Called with the step on averaged parameters; its figures are logged.
        evaluate_every: In steps.
        device: For autocast; None: CPU.

    Returns:
        The averaged parameters. `model` holds the last ones.
    """
    folder.mkdir(parents=True, exist_ok=True)
    trained = [p for p in model.parameters() if p.requires_grad]
    optimizers = make_optimizers(model, recipe)
    ema = Ema(model)
    first_step = _resume(folder, model, optimizers, ema)
    writer, stop, saved = SummaryWriter(str(folder)), _Stop(), time.monotonic()
    bar = tqdm(
        range(first_step, recipe.num_steps), initial=first_step, total=recipe.num_steps,
        mininterval=20, maxinterval=60, desc=folder.name, ascii=True,
    )  # fmt: skip
    for step in bar:
        losses = _step(step, trained, optimizers, loss_of, recipe, device)
        ema.update(model, min(recipe.ema_decay, (1 + step) / (10 + step)))
        if step % 20 == 0:
            values = {name: float(value.detach()) for name, value in losses.items()}
            bar.set_postfix({name: f"{value:.4f}" for name, value in values.items()})
            for name, value in values.items():
                writer.add_scalar(name, value, step)
        if evaluate is not None and (step + 1) % evaluate_every == 0:
            _evaluate(step + 1, model, ema, evaluate, writer)
        if time.monotonic() - saved > recipe.checkpoint_seconds or stop.is_set:
            _save(folder, step + 1, model, optimizers, ema)
            saved = time.monotonic()
        if stop.is_set:
            raise SystemExit(f"{folder.name}: stopped at step {step + 1}, resumes from there")
    _save(folder, recipe.num_steps, model, optimizers, ema)
    writer.close()
    return ema


def _step(
    step: int,
    trained: list[nn.Parameter],
    optimizers: list[torch.optim.Optimizer],
    loss_of: Callable[[int], Losses],
    recipe: LoopRecipe,
    device: torch.device | None,
) -> Losses:
    torch.manual_seed(seed_of(recipe.seed, step))
    for group in (group for optimizer in optimizers for group in optimizer.param_groups):
        group["lr"] = learning_rate_at(recipe, step) * group["lr_scale"]
    kind = device.type if device else "cpu"
    dtype = recipe.autocast_dtype or torch.float32
    with torch.autocast(kind, dtype=dtype, enabled=recipe.autocast_dtype is not None):
        losses = loss_of(step)
    total = torch.stack(list(losses.values())).sum()
    for optimizer in optimizers:
        optimizer.zero_grad(set_to_none=True)
    total.backward()
    nn.utils.clip_grad_norm_(trained, recipe.max_grad_norm)
    for optimizer in optimizers:
        optimizer.step()
    return losses


def _evaluate(
    step: int,
    model: nn.Module,
    ema: Ema,
    evaluate: Callable[[int], Mapping[str, float]],
    writer: SummaryWriter,
) -> None:
    kept = {name: p.detach().clone() for name, p in model.named_parameters() if name in ema.shadow}
    ema.copy_to(model)
    with torch.no_grad():
        figures = evaluate(step)
    for name, figure in figures.items():
        writer.add_scalar(f"evaluate/{name}", figure, step)
    tqdm.write(f"step {step}: " + ", ".join(f"{k} {v:.3f}" for k, v in figures.items()))
    parameters = dict(model.named_parameters())
    with torch.no_grad():
        for name, value in kept.items():
            parameters[name].copy_(value)


def _save(
    folder: Path, step: int, model: nn.Module, optimizers: list[torch.optim.Optimizer], ema: Ema
) -> None:
    """Write the checkpoint beside the last one and swap, so that a kill leaves one of them."""
    trained = {name: p for name, p in model.named_parameters() if p.requires_grad}
    state = {
        "step": step,
        "parameters": trained,
        "optimizers": [optimizer.state_dict() for optimizer in optimizers],
        "ema": ema.shadow,
    }
    partial = folder / f"{CHECKPOINT}.part"
    with partial.open("wb") as file:
        torch.save(state, file)
        file.flush()
        os.fsync(file.fileno())
    partial.replace(folder / CHECKPOINT)


@torch.no_grad()
def _resume(
    folder: Path, model: nn.Module, optimizers: list[torch.optim.Optimizer], ema: Ema
) -> int:
    path = folder / CHECKPOINT
    if not path.is_file():
        return 0
    state = torch.load(path, weights_only=True, map_location=next(model.parameters()).device)
    parameters = {name: p for name, p in model.named_parameters() if p.requires_grad}
    if parameters.keys() != state["parameters"].keys():
        raise ValueError(f"{path} is of another model; use another run folder")
    for name, value in state["parameters"].items():
        parameters[name].copy_(value)
    for optimizer, stored in zip(optimizers, state["optimizers"], strict=True):
        optimizer.load_state_dict(stored)
    ema.shadow = {name: state["ema"][name].to(p.device) for name, p in parameters.items()}
    return int(state["step"])
