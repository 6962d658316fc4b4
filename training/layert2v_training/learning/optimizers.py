"""Learning of parameters: the schedule of the rate, AdamW and Muon, and their average."""

import math
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor, nn

from layert2v_model.cost.precision import Choice, decide_precision
from layert2v_training.learning.muon import Float32Muon
from layert2v_training.number_kinds import Count, Decay, NotNegative, Positive, WholeNumber


@dataclass(frozen=True)
class LoopRecipe:
    """The length and speed of a training run."""

    num_steps: Count
    learning_rate: Positive
    """Peak of the schedule: linear warm-up, then cosine to 5 %."""
    muon_scale: NotNegative = 0.0
    """If above 0, matrices of repeated blocks learn by Muon at this multiple of the rate, and the
    rest by AdamW. Source: Jordan et al., "Muon", 2024; scaled as in Liu et al., "Muon is scalable
    for LLM training", 2025, so that the rates of both are comparable."""
    warmup_steps: WholeNumber = 100
    weight_decay: NotNegative = 0.0
    adamw_betas: tuple[Decay, Decay] = (0.9, 0.99)
    """Decay of AdamW's moments. The second is .999 in the paper, which averages over a thousand
    steps. That is most of a small network's run of a few hundred to a few thousand steps."""
    max_grad_norm: Positive = 1.0
    ema_decay: Decay = 0.999
    """Decay of the averaged parameters; ramps up as (1 + step) / (10 + step)."""
    seed: WholeNumber = 0
    checkpoint_seconds: NotNegative = 120.0
    gradient_accumulation: Count = 1
    """Batches of one step and process, one after another: memory of one, gradient of all."""
    autocast: Literal["auto", "bfloat16"] | None = "auto"
    """Precision of matrix products; None: float32; `auto`: bfloat16 where the hardware has it
    natively, else float32. A run's folder holds what was decided."""

    @property
    def choice(self) -> Choice:
        """`autocast` as `decide_precision` takes it."""
        return self.autocast or "float32"

    def compute_dtype(self, device: torch.device) -> torch.dtype:
        """Return the precision of matrix products on a device."""
        return decide_precision(self.choice, device).dtype


def learning_rate_at(recipe: LoopRecipe, step: int) -> float:
    """Linear warm-up, then half a cosine down to 5 % of the peak at the last step.

    A function of the step alone, so it is the same on any number of processes.
    """
    warm = min(1.0, (step + 1) / max(1, recipe.warmup_steps))
    progress = min(1.0, step / max(1, recipe.num_steps))
    return recipe.learning_rate * warm * (0.05 + 0.95 * 0.5 * (1 + math.cos(math.pi * progress)))


def set_learning_rate(optimizers: list[torch.optim.Optimizer], rate: float) -> None:
    """Set the rate of every group, times its own scale."""
    for optimizer in optimizers:
        for group in optimizer.param_groups:
            group["lr"] = rate * group["lr_scale"]


def make_optimizers(
    model: nn.Module, recipe: LoopRecipe, dtype: torch.dtype = torch.bfloat16
) -> list[torch.optim.Optimizer]:
    """Make the optimizers of a run. Each group says its multiple of the rate as `lr_scale`.

    Args:
        model: Its parameters that require gradients learn.
        recipe: Rates and decays.
        dtype: Precision in which the run multiplies matrices, Muon's among them.
    """
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
            betas=recipe.adamw_betas,
            weight_decay=recipe.weight_decay,
        )
    ]
    if matrices:
        group = {"params": matrices, "lr_scale": recipe.muon_scale}
        muon = torch.optim.Muon if dtype is torch.bfloat16 else Float32Muon
        optimizers.append(
            muon(
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
