"""Noise levels for checkpoints distilled to few steps; for others they only draw worse."""

import numpy as np
import numpy.typing as npt

FEW_STEPS = (4, 8)
"""Numbers of steps that checkpoints are distilled to."""


def few_step_sigmas(num_steps: int, shift: float = 5.0) -> npt.NDArray[np.float32]:
    """Return the noise levels of a distilled checkpoint's steps, from 1 down, without the last 0.

    For `FlowMatchEulerDiscreteScheduler(shift=1.0).set_timesteps(sigmas=...)`, with guidance 1: a
    distilled checkpoint has guidance in it. A scheduler that has the shift itself makes the same
    levels of evenly spaced ones, as the pipeline does.

    Args:
        num_steps: 4 or 8.
        shift: Of the flow's timesteps, from 1; the one the checkpoint was distilled with.

    Raises:
        ValueError: There is no schedule of so many steps, or the shift is below 1.

    Source:
        Self-Forcing (Huang et al., 2025), `configs/self_forcing_dmd.yaml`: steps at 1000, 750, 500
        and 250 of 1000, warped by the scheduler's shift of 5: s t / (1 + (s - 1) t). Eight steps
        are the same rule at half the distance.
    """
    if num_steps not in FEW_STEPS:
        raise ValueError(f"there is no schedule of {num_steps} steps; use 4 or 8")
    if not shift >= 1:
        raise ValueError(f"the shift is {shift}, it must be 1 or more; use 5")
    even = np.linspace(1, 0, num_steps + 1)[:-1]
    return (shift * even / (1 + (shift - 1) * even)).astype(np.float32)
