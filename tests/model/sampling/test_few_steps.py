import numpy as np
import pytest
from diffusers import FlowMatchEulerDiscreteScheduler


def test_four_steps_are_those_of_the_distilled_checkpoints() -> None:
    # Self-Forcing (Huang et al., 2025): 1000, 750, 500 and 250 of 1000, warped by a shift of 5.
    scheduler = FlowMatchEulerDiscreteScheduler(shift=5.0)

    scheduler.set_timesteps(sigmas=np.linspace(1, 0, 5)[:-1])

    assert scheduler.timesteps.tolist() == pytest.approx([1000, 937.5, 833.3333, 625])
    assert scheduler.sigmas[-1] == 0
