"""Muon in float32 for hardware without bfloat16, to which the library's Muon always rounds.

Emulated on a processor with AVX2, a step of the recipe `tiny` took 48 s in bfloat16 and 2.0 s in
float32. In native bfloat16 it took .95 s (one thread, November 2026, torch 2.13).
"""

import math
from typing import Any

import torch
from torch import Tensor


class Float32Muon(torch.optim.Muon):
    """`torch.optim.Muon`, orthogonalising in float32; either reads the other's state."""

    @torch.no_grad()
    def step(self, closure: Any = None) -> Any:
        """Make a step from the gradients that there are.

        Args:
            closure: Not used.

        Source:
            Jordan et al., "Muon", 2024; `match_rms_adamw` as in Liu et al., "Muon is scalable for
            LLM training", 2025, equation 4.
        """
        for group in self.param_groups:
            for parameter in group["params"]:
                if parameter.grad is not None:
                    self._move(parameter, parameter.grad, group)

    def _move(self, parameter: Tensor, gradient: Tensor, group: dict[str, Any]) -> None:
        state, momentum = self.state[parameter], group["momentum"]
        mean = state.setdefault("momentum_buffer", torch.zeros_like(gradient))
        mean.lerp_(gradient, 1 - momentum)
        update = orthogonalised(
            gradient.lerp(mean, momentum), group["ns_coefficients"], group["ns_steps"], group["eps"]
        )
        # The only adjustment that this project uses: the size of AdamW's updates.
        rate = group["lr"] * 0.2 * math.sqrt(max(parameter.shape))
        parameter.mul_(1 - group["lr"] * group["weight_decay"]).add_(update, alpha=-rate)


def orthogonalised(
    matrix: Tensor, coefficients: tuple[float, float, float], num_steps: int, eps: float
) -> Tensor:
    """Bring a matrix's singular values near 1 by Newton-Schulz steps, in its own precision.

    Args:
        matrix: Matrix of any size.
        coefficients: a, b, c of X <- a X + b (X X') X + c (X X')^2 X.
        num_steps: Number of steps.
        eps: Least norm that is divided by.
    """
    a, b, c = coefficients
    is_tall = matrix.shape[0] > matrix.shape[1]
    x = matrix.T if is_tall else matrix
    x = x / x.norm().clamp(min=eps)
    for _ in range(num_steps):
        square = x @ x.T
        x = a * x + (b * square + c * square @ square) @ x
    return x.T if is_tall else x
