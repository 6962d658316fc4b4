import numpy as np
import pytest
import torch
from diffusers import FlowMatchEulerDiscreteScheduler

from layert2v_model.few_steps import few_step_sigmas


def test_four_steps_are_those_of_the_distilled_checkpoints() -> None:
    scheduler = FlowMatchEulerDiscreteScheduler(shift=1.0)

    scheduler.set_timesteps(sigmas=few_step_sigmas(4))

    assert scheduler.timesteps.tolist() == pytest.approx([1000, 937.5, 833.3333, 625])
    assert scheduler.sigmas[-1] == 0


@pytest.mark.parametrize("num_steps", [4, 8])
def test_a_scheduler_with_the_shift_makes_them_of_even_steps(num_steps: int) -> None:
    shifted, plain = (FlowMatchEulerDiscreteScheduler(shift=shift) for shift in (5.0, 1.0))

    shifted.set_timesteps(sigmas=np.linspace(1, 0, num_steps + 1)[:-1])
    plain.set_timesteps(sigmas=few_step_sigmas(num_steps))

    assert torch.allclose(shifted.sigmas, plain.sigmas, atol=1e-6)


@pytest.mark.parametrize(("num_steps", "shift"), [(6, 5.0), (4, 0.5), (4, float("nan"))])
def test_a_schedule_that_does_not_exist_is_refused(num_steps: int, shift: float) -> None:
    with pytest.raises(ValueError, match="use"):
        few_step_sigmas(num_steps, shift)
