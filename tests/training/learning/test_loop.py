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

from layert2v_training.learning.checkpoint import CHECKPOINT, CheckpointMismatch, CheckpointNotSaved
from layert2v_training.learning.loop import Losses, LossOf, train
from layert2v_training.learning.non_finite import Diverged
from layert2v_training.learning.optimizers import LoopRecipe, learning_rate_at
from layert2v_training.learning.run_log import Figures, RunLog
from layert2v_training.learning.stopping import Stopped

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


def test_a_short_run_logs_ten_means(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    losses = list[float]()

    def noted(model: nn.Module, step: int) -> Losses:
        found = loss_of(model, step)
        losses.append(float(found["loss"].detach()))
        return found

    train(tmp_path, make_model(), noted, replace(RECIPE, num_steps=20))

    events = EventAccumulator(str(tmp_path)).Reload().Scalars("loss")
    lines = [line for line in capsys.readouterr().out.splitlines() if line.startswith("step ")]
    pairs = [sum(losses[at : at + 2]) / 2 for at in range(0, 20, 2)]
    assert [event.step for event in events] == list(range(2, 21, 2))
    assert [event.value for event in events] == pytest.approx(pairs)
    assert [line.split(":")[0] for line in lines] == [f"step {n} of 20" for n in range(2, 21, 2)]
    assert f"loss {pairs[-1]:.4g}" in lines[-1]


def test_a_long_run_logs_every_twenty_steps_and_says_ten_lines(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    reports = RunLog(tmp_path, 0, 600, is_main=True)

    for step in reports.steps():
        reports.scalars(step, {"loss": float(step)}, {})
    reports.close()

    events = EventAccumulator(str(tmp_path)).Reload().Scalars("loss")
    lines = [line for line in capsys.readouterr().out.splitlines() if line.startswith("step ")]
    assert [event.step for event in events] == list(range(20, 601, 20))
    assert events[0].value == 9.5
    assert len(lines) == 10
    assert "loss 29.5" in lines[0]


def test_a_step_that_is_not_finite_is_not_part_of_a_mean(tmp_path: Path) -> None:
    reports = RunLog(tmp_path, 0, 20, is_main=True)

    for step in reports.steps():
        loss = torch.tensor(float("nan") if step == 3 else 2.0)
        reports.scalars(step, {"loss": loss}, {})
    reports.close()

    events = EventAccumulator(str(tmp_path)).Reload().Scalars("loss")
    assert [event.value for event in events] == [2.0] * 10


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


def test_sigterm_saves_and_ends_with_the_status_of_a_program_that_was_stopped(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    model = make_model()

    def terminated_at_4(model: nn.Module, step: int) -> Losses:
        if step == 4:
            os.kill(os.getpid(), signal.SIGTERM)
        return loss_of(model, step)

    with pytest.raises(Stopped) as stopped:
        train(tmp_path, model, terminated_at_4, RECIPE)

    assert stopped.value.code == 143
    assert "saved before step 5" in caplog.text
    assert torch.load(tmp_path / CHECKPOINT, weights_only=True)["step"] == 5


def test_sigterm_ends_a_sheet_and_the_last_parameters_are_saved(tmp_path: Path) -> None:
    straight, broken, resumed = make_model(), make_model(), make_model()
    train(tmp_path / "straight", straight, loss_of, RECIPE)

    def terminated(step: int) -> Figures:
        os.kill(os.getpid(), signal.SIGTERM)
        pytest.fail(f"the sheet of step {step} went on")

    with pytest.raises(Stopped) as stopped:
        train(tmp_path / "run", broken, loss_of, RECIPE, evaluate=terminated, evaluate_every=3)
    saved = torch.load(tmp_path / "run" / CHECKPOINT, weights_only=True)["step"]
    train(tmp_path / "run", resumed, loss_of, RECIPE)

    assert stopped.value.code == 143
    assert saved == 3
    for expected, actual in zip(straight.parameters(), resumed.parameters(), strict=True):
        assert torch.equal(expected, actual)


def test_sigterm_between_parts_drops_the_step_which_is_made_again(tmp_path: Path) -> None:
    accumulating, parts = replace(RECIPE, gradient_accumulation=4), list[int]()
    straight, broken, resumed = make_model(), make_model(), make_model()
    train(tmp_path / "straight", straight, loss_of, accumulating)

    def terminated_in_6(model: nn.Module, step: int) -> Losses:
        parts.append(step)
        if parts.count(6) == 2:
            os.kill(os.getpid(), signal.SIGTERM)
        return loss_of(model, step)

    with pytest.raises(Stopped):
        train(tmp_path / "broken", broken, terminated_in_6, accumulating)
    saved = torch.load(tmp_path / "broken" / CHECKPOINT, weights_only=True)["step"]
    train(tmp_path / "broken", resumed, loss_of, accumulating)

    assert parts.count(6) == 2
    assert saved == 6
    for expected, actual in zip(straight.parameters(), resumed.parameters(), strict=True):
        assert torch.equal(expected, actual)


def bad_at(*steps: int) -> LossOf:
    """Make a loss that is not a number at some steps."""

    def loss(model: nn.Module, step: int) -> Losses:
        factor = float("nan") if step in steps else 1.0
        return {name: factor * value for name, value in loss_of(model, step).items()}

    return loss


def test_a_step_whose_gradients_are_not_finite_changes_nothing_and_is_counted(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    learner, before = make_model(), list[torch.Tensor]()

    def watched(model: nn.Module, step: int) -> Losses:
        before.append(model[0].weight.detach().clone())
        return bad_at(3)(model, step)

    average = train(tmp_path, learner, watched, RECIPE)

    assert torch.equal(before[3], before[4])
    assert not torch.equal(before[4], before[5])
    assert all(value.isfinite().all() for value in average.shadow.values())
    assert "step 3 left out" in caplog.text


def test_a_run_interrupted_after_a_step_that_was_left_out_ends_with_the_same_parameters(
    tmp_path: Path,
) -> None:
    straight, resumed = make_model(), make_model()
    train(tmp_path / "straight", straight, bad_at(3), RECIPE)

    def terminated_at_5(model: nn.Module, step: int) -> Losses:
        if step == 5:
            os.kill(os.getpid(), signal.SIGTERM)
        return bad_at(3)(model, step)

    with pytest.raises(Stopped):
        train(tmp_path / "broken", make_model(), terminated_at_5, RECIPE)
    train(tmp_path / "broken", resumed, bad_at(3), RECIPE)

    for expected, actual in zip(straight.parameters(), resumed.parameters(), strict=True):
        assert torch.equal(expected, actual)


def test_a_run_without_finite_gradients_is_refused_and_its_checkpoint_stays(
    tmp_path: Path,
) -> None:
    train(tmp_path, make_model(), loss_of, RECIPE)
    before = (tmp_path / CHECKPOINT).read_bytes()
    longer = replace(RECIPE, num_steps=40, checkpoint_seconds=1e9)

    with pytest.raises(Diverged, match=r"10 steps in a row, the last of them 21 .* Lower"):
        train(tmp_path, make_model(), bad_at(*range(12, 40)), longer)

    assert (tmp_path / CHECKPOINT).read_bytes() == before


def test_a_state_that_is_not_finite_is_not_saved(tmp_path: Path) -> None:
    train(tmp_path, make_model(), loss_of, RECIPE)
    before, model = (tmp_path / CHECKPOINT).read_bytes(), make_model()

    def broken_at_13(model: nn.Module, step: int) -> Losses:
        losses = loss_of(model, step)
        if step == 13:
            with torch.no_grad():
                model[2].bias.fill_(float("inf"))
        return losses

    with pytest.raises(Diverged, match="not finite before step 14"):
        train(tmp_path, model, broken_at_13, replace(RECIPE, num_steps=14))

    assert (tmp_path / CHECKPOINT).read_bytes() == before


def test_what_a_killed_run_logged_after_its_checkpoint_is_not_in_the_log_twice(
    tmp_path: Path,
) -> None:
    class Killed(Exception):
        pass

    def killed_at_45(model: nn.Module, step: int) -> Losses:
        if step == 45:
            raise Killed
        return loss_of(model, step)

    longer = replace(RECIPE, num_steps=61)
    with pytest.raises(Killed):
        train(tmp_path, make_model(), killed_at_45, longer)
    train(tmp_path, make_model(), loss_of, longer)

    events = EventAccumulator(str(tmp_path)).Reload().Scalars("loss")
    assert [event.step for event in events] == [*range(6, 61, 6)]
