import itertools
from pathlib import Path

import pytest
import torch
from torch import nn

from layert2v_training import loop
from layert2v_training.loop import LoopRecipe, Losses, learning_rate_at, train

RECIPE = LoopRecipe(num_steps=12, learning_rate=1e-2, warmup_steps=3, autocast_dtype=None)


def make_model() -> nn.Module:
    torch.manual_seed(5)
    return nn.Sequential(nn.Linear(4, 8), nn.SiLU(), nn.Linear(8, 1))


def loss_of(model: nn.Module):
    def loss(step: int) -> Losses:
        x = torch.randn(6, 4)
        return {"loss": (model(x) - x.sum(1, keepdim=True)).square().mean()}

    return loss


def test_an_interrupted_run_ends_with_bit_identical_parameters(tmp_path: Path) -> None:
    straight = make_model()
    average = train(tmp_path / "straight", straight, loss_of(straight), RECIPE)
    broken = make_model()

    class Killed(Exception):
        pass

    def killed_at_7(step: int) -> Losses:
        if step == 7:
            raise Killed
        return loss_of(broken)(step)

    often = LoopRecipe(**{**RECIPE.__dict__, "checkpoint_seconds": 0.0})
    with pytest.raises(Killed):
        train(tmp_path / "broken", broken, killed_at_7, often)
    resumed = make_model()
    average_resumed = train(tmp_path / "broken", resumed, loss_of(resumed), often)

    for expected, actual in zip(straight.parameters(), resumed.parameters(), strict=True):
        assert torch.equal(expected, actual)
    for name, expected in average.shadow.items():
        assert torch.equal(expected, average_resumed.shadow[name])


def test_a_kill_while_saving_leaves_the_last_checkpoint(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = make_model()
    train(tmp_path, model, loss_of(model), RECIPE)
    before = (tmp_path / loop.CHECKPOINT).read_bytes()

    def torn(state: object, file) -> None:
        file.write(b"torn")
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(torch, "save", torn)
    longer = LoopRecipe(**{**RECIPE.__dict__, "num_steps": 14})
    with pytest.raises(OSError, match="No space"):
        train(tmp_path, model, loss_of(model), longer)

    assert (tmp_path / loop.CHECKPOINT).read_bytes() == before


def test_training_loses_loss(tmp_path: Path) -> None:
    model = make_model()
    torch.manual_seed(0)
    before = loss_of(model)(0)["loss"].item()

    longer = LoopRecipe(**{**RECIPE.__dict__, "num_steps": 200})
    train(tmp_path, model, loss_of(model), longer)

    torch.manual_seed(0)
    assert loss_of(model)(0)["loss"].item() < 0.3 * before


def test_a_checkpoint_of_another_model_is_refused(tmp_path: Path) -> None:
    model = make_model()
    train(tmp_path, model, loss_of(model), RECIPE)
    other = nn.Sequential(nn.Linear(4, 1))

    with pytest.raises(ValueError, match="another model"):
        train(tmp_path, other, loss_of(other), RECIPE)


def test_the_schedule_warms_up_once_and_never_rises_again() -> None:
    rates = [learning_rate_at(RECIPE, step) for step in range(RECIPE.num_steps + 1)]

    assert rates[0] == pytest.approx(RECIPE.learning_rate / 3)
    assert max(rates) == rates[2]
    assert all(a >= b for a, b in itertools.pairwise(rates[2:]))
    assert rates[-1] == pytest.approx(0.05 * RECIPE.learning_rate)


def test_sigterm_saves_and_ends(tmp_path: Path) -> None:
    import os
    import signal

    model = make_model()

    def terminated_at_4(step: int) -> Losses:
        if step == 4:
            os.kill(os.getpid(), signal.SIGTERM)
        return loss_of(model)(step)

    with pytest.raises(SystemExit, match="step 5"):
        train(tmp_path, model, terminated_at_4, RECIPE)

    assert torch.load(tmp_path / loop.CHECKPOINT, weights_only=True)["step"] == 5
