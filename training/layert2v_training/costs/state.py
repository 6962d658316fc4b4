"""The state of training: parameters, gradients, moments, an average, checkpoints."""

from torch import nn

from layert2v_model.cost.estimate import FLOAT32_BYTES
from layert2v_training.costs.needs import Phase
from layert2v_training.costs.parts import trained_of
from layert2v_training.costs.passes import Peaks
from layert2v_training.learning.optimizers import LoopRecipe

OWN_BYTES = 96 << 20
"""Bytes of kernels and libraries beside tensors in a step. Source: eight runs on a processor,
`docs/training_costs.md`: between 50 and 200 MiB."""


def count_of(module: nn.Module) -> int:
    """Count a module's parameters."""
    return sum(parameter.numel() for parameter in module.parameters())


def muon_of(model: nn.Module, loop: LoopRecipe) -> int:
    """Count the numbers that learn by Muon; as `optimizers.make_optimizers` chooses."""
    if not loop.muon_scale:
        return 0
    return sum(
        p.numel()
        for name, p in model.named_parameters()
        if p.requires_grad and "blocks." in name and p.ndim == 2
    )


def state_bytes_of(model: nn.Module, loop: LoopRecipe) -> int:
    """Count moments, of Muon one and of AdamW two, and the average; float32."""
    trained = trained_of(model)
    return FLOAT32_BYTES * (3 * trained - muon_of(model, loop))


def training_phase(static: int, model: nn.Module, loop: LoopRecipe, peaks: Peaks) -> Phase:
    """Count the fullest moment of a step: of its passes, or of the optimizer's own tensors."""
    gradients = FLOAT32_BYTES * trained_of(model)
    # AdamW makes the roots of all second moments at once.
    updating = 2 * gradients - FLOAT32_BYTES * muon_of(model, loop)
    step = max(peaks.beyond_parameters(gradients, loop.gradient_accumulation), updating)
    return Phase("training", static + state_bytes_of(model, loop) + step + OWN_BYTES)


def checkpoint_bytes_of(model: nn.Module, loop: LoopRecipe) -> int:
    """Count two, while one replaces the other: parameters and what `state_bytes_of` counts."""
    return 2 * (FLOAT32_BYTES * trained_of(model) + state_bytes_of(model, loop))
