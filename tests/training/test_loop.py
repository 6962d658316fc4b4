import itertools
import os
import resource
import signal
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from torch import nn

from layert2v_training.checkpoint import CHECKPOINT, CheckpointMismatch, CheckpointNotSaved
from layert2v_training.loop import Losses, train
from layert2v_training.optimizers import LoopRecipe, learning_rate_at

RECIPE = LoopRecipe(num_steps=12, learning_rate=1e-2, warmup_steps=3, autocast=None)


def make_model() -> nn.Module:
    torch.manual_seed(5)
    return nn.Sequential(nn.Linear(4, 8), nn.SiLU(), nn.Linear(8, 1))


def loss_of(model: nn.Module, step: int) -> Losses:
    x = torch.randn(6, 4)
    return {"loss": (model(x) - x.sum(1, keepdim=True)).square().mean()}


def test_an_interrupted_run_ends_with_bit_identical_parameters(tmp_path: Path) -> None:
    straight = make_model()
    average = train(tmp_path / "straight", straight, loss_of, RECIPE)
    broken = make_model()

    class Killed(Exception):
        pass

    def killed_at_7(model: nn.Module, step: int) -> Losses:
        if step == 7:
            raise Killed
        return loss_of(model, step)

    often = replace(RECIPE, checkpoint_seconds=0.0)
    with pytest.raises(Killed):
        train(tmp_path / "broken", broken, killed_at_7, often)
    resumed = make_model()
    average_resumed = train(tmp_path / "broken", resumed, loss_of, often)

    for expected, actual in zip(straight.parameters(), resumed.parameters(), strict=True):
        assert torch.equal(expected, actual)
    for name, expected in average.shadow.items():
        assert torch.equal(expected, average_resumed.shadow[name])


def test_a_full_disk_leaves_the_last_checkpoint_and_says_what_to_do(tmp_path: Path) -> None:
    model = make_model()
    train(tmp_path, model, loss_of, RECIPE)
    before = (tmp_path / CHECKPOINT).read_bytes()
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)

    resource.setrlimit(resource.RLIMIT_FSIZE, (len(before) // 2, limits[1]))
    try:
        with pytest.raises(CheckpointNotSaved, match=r"MiB free; the last checkpoint is whole"):
            train(tmp_path, model, loss_of, replace(RECIPE, num_steps=14))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)

    assert (tmp_path / CHECKPOINT).read_bytes() == before
    assert not (tmp_path / f"{CHECKPOINT}.part").exists()


def test_accumulated_parts_are_different_batches_and_their_gradients_are_averaged(
    tmp_path: Path,
) -> None:
    model, seen, gradients = make_model(), list[torch.Tensor](), list[torch.Tensor]()

    def watched(model: nn.Module, step: int) -> Losses:
        x = torch.randn(6, 4)
        seen.append(x)
        return {"loss": model(x).square().mean()}

    def keep(step: int) -> dict[str, float]:
        gradients.append(model[0].weight.grad.clone())
        return {}

    twice = replace(RECIPE, num_steps=1, gradient_accumulation=2, max_grad_norm=1e9)
    train(tmp_path, model, watched, twice, evaluate=keep, evaluate_every=1)

    fresh = make_model()
    fresh(torch.cat(seen)).square().mean().backward()
    assert not torch.equal(*seen)
    torch.testing.assert_close(gradients[0], fresh[0].weight.grad)


def test_the_log_has_throughput_time_left_rate_and_losses(tmp_path: Path) -> None:
    model = make_model()
    picture = torch.zeros(3, 4, 4)
    train(
        tmp_path, model, loss_of, replace(RECIPE, num_steps=41),
        evaluate=lambda step: {"psnr": 1.0, "sheet": picture}, evaluate_every=40,
    )  # fmt: skip

    events = EventAccumulator(str(tmp_path)).Reload().Tags()

    wanted = {"loss", "learning_rate", "steps_per_second", "hours_left", "evaluate/psnr"}
    assert wanted <= set(events["scalars"])
    assert events["images"] == ["evaluate/sheet"]


def test_training_loses_loss(tmp_path: Path) -> None:
    model = make_model()
    torch.manual_seed(0)
    before = loss_of(model, 0)["loss"].item()

    longer = replace(RECIPE, num_steps=200)
    train(tmp_path, model, loss_of, longer)

    torch.manual_seed(0)
    assert loss_of(model, 0)["loss"].item() < 0.3 * before


def test_a_checkpoint_of_another_model_is_refused(tmp_path: Path) -> None:
    model = make_model()
    train(tmp_path, model, loss_of, RECIPE)
    other = nn.Sequential(nn.Linear(4, 1))

    with pytest.raises(CheckpointMismatch, match="another model"):
        train(tmp_path, other, loss_of, RECIPE)


def test_a_checkpoint_of_another_shape_is_refused_by_name(tmp_path: Path) -> None:
    train(tmp_path, nn.Linear(4, 1), loss_of, RECIPE)

    with pytest.raises(CheckpointMismatch, match=r"weight is \(1, 4\) and not \(2, 4\)"):
        train(tmp_path, nn.Linear(4, 2), loss_of, RECIPE)


def test_the_schedule_warms_up_once_and_never_rises_again() -> None:
    rates = [learning_rate_at(RECIPE, step) for step in range(RECIPE.num_steps + 1)]

    assert rates[0] == pytest.approx(RECIPE.learning_rate / 3)
    assert max(rates) == rates[2]
    assert all(a >= b for a, b in itertools.pairwise(rates[2:]))
    assert rates[-1] == pytest.approx(0.05 * RECIPE.learning_rate)


def test_sigterm_saves_and_ends(tmp_path: Path) -> None:
    model = make_model()

    def terminated_at_4(model: nn.Module, step: int) -> Losses:
        if step == 4:
            os.kill(os.getpid(), signal.SIGTERM)
        return loss_of(model, step)

    with pytest.raises(SystemExit, match="step 5"):
        train(tmp_path, model, terminated_at_4, RECIPE)

    assert torch.load(tmp_path / CHECKPOINT, weights_only=True)["step"] == 5
