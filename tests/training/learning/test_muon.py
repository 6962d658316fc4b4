import copy

import pytest
import torch
from torch import nn

from layert2v_training.learning.muon import Float32Muon, orthogonalised
from layert2v_training.learning.optimizers import LoopRecipe, make_optimizers

SETTINGS = {"lr": 0.1, "weight_decay": 0.2, "adjust_lr_fn": "match_rms_adamw"}


def after_steps(kind: type[torch.optim.Muon], matrix: nn.Parameter) -> torch.Tensor:
    optimizer = kind([matrix], **SETTINGS)
    for step in range(3):
        generator = torch.Generator().manual_seed(step)
        matrix.grad = torch.randn(matrix.shape, generator=generator)
        optimizer.step()
    return matrix.detach()


@pytest.mark.parametrize("shape", [(12, 20), (20, 12), (16, 16)])
def test_it_makes_the_librarys_steps_but_for_rounding(shape: tuple[int, int]) -> None:
    start = nn.Parameter(torch.randn(shape, generator=torch.Generator().manual_seed(9)))

    theirs = after_steps(torch.optim.Muon, copy.deepcopy(start))
    ours = after_steps(Float32Muon, copy.deepcopy(start))

    moved = (theirs - start.detach()).norm()
    assert (ours - theirs).norm() < 0.02 * moved
    assert not torch.equal(ours, theirs)


def test_singular_values_come_near_one() -> None:
    matrix = torch.randn(12, 30, generator=torch.Generator().manual_seed(1))

    values = torch.linalg.svdvals(orthogonalised(matrix, (3.4445, -4.775, 2.0315), 5, 1e-7))

    assert 0.6 < values.min() < values.max() < 1.3


def test_it_goes_on_with_the_librarys_state() -> None:
    matrix = nn.Parameter(torch.ones(3, 4))
    matrix.grad = torch.ones(3, 4)
    theirs, ours = (kind([matrix], **SETTINGS) for kind in (torch.optim.Muon, Float32Muon))
    theirs.step()

    ours.load_state_dict(theirs.state_dict())
    ours.step()

    [state] = ours.state.values()
    torch.testing.assert_close(state["momentum_buffer"], torch.full((3, 4), 1 - 0.95**2))


def test_matrices_learn_in_the_precision_of_the_run() -> None:
    model = nn.ModuleDict({"blocks": nn.ModuleList([nn.Linear(3, 3)])})
    recipe = LoopRecipe(1, 1e-3, muon_scale=1.0)

    half, exact = (make_optimizers(model, recipe, d)[1] for d in (torch.bfloat16, torch.float32))

    assert type(half) is torch.optim.Muon
    assert type(exact) is Float32Muon
