"""The log of a run for people, written by one process: a bar, lines of text, and TensorBoard."""

import math
import time
from collections.abc import Iterator, Mapping
from pathlib import Path

import torch
from torch import Tensor
from torch.utils.tensorboard import SummaryWriter
from tqdm import tqdm

Figures = Mapping[str, float | Tensor]
"""Numbers, and pictures (3, H, W) in [0, 1], by name."""

LOG_EVERY = 20
"""Most steps between points of TensorBoard's curves."""
FEWEST_POINTS = 10
"""Points of a run's curves, and lines of its text. A run of fewer steps has one for each step."""


class _Means:
    """Means of numbers by name, over the steps since they were last taken."""

    def __init__(self) -> None:
        self._values: dict[str, list[Tensor | float]] = {}

    def add(self, values: Mapping[str, Tensor | float]) -> None:
        """Take in a step's numbers. Tensors stay on their device."""
        for name, value in values.items():
            self._values.setdefault(name, []).append(value)

    def take(self) -> dict[str, float]:
        """Return the means of what is finite and forget it; NaN where nothing is."""
        means = {name: _mean(values) for name, values in self._values.items()}
        self._values.clear()
        return means


def _mean(values: list[Tensor | float]) -> float:
    # A step whose gradients are not finite is left out of the run, and so of its means.
    numbers = torch.stack([torch.as_tensor(value, dtype=torch.float32) for value in values])
    finite = numbers[torch.isfinite(numbers)]
    return float(finite.mean()) if len(finite) else math.nan


class RunLog:
    """The bar, the text and the events of a run; nothing in processes that are not the main one.

    Points and lines stand at the number of steps done, and are means since the one before.
    """

    def __init__(self, folder: Path, first_step: int, num_steps: int, *, is_main: bool) -> None:
        # What a killed run wrote after its checkpoint is written again.
        self._writer = SummaryWriter(str(folder), purge_step=first_step + 1) if is_main else None
        self._num_steps, self._began = num_steps, (first_step, time.monotonic())
        tenth = num_steps // FEWEST_POINTS
        self._every = max(1, min(LOG_EVERY, tenth))
        self._tell_every = max(self._every, tenth // self._every * self._every)
        self._means, self._told = _Means(), _Means()
        self._bar = tqdm(
            range(first_step, num_steps), initial=first_step, total=num_steps,
            mininterval=20, maxinterval=60, desc=folder.name, ascii=True, disable=not is_main,
        )  # fmt: skip

    def steps(self) -> Iterator[int]:
        """Yield the steps to make."""
        yield from self._bar

    def scalars(
        self, step: int, averaged: Mapping[str, Tensor | float], current: Mapping[str, float]
    ) -> None:
        """Take in a step's numbers and, now and then, write means, speed and the hours left.

        Args:
            step: Number of the step that was made, from 0.
            averaged: Losses and what else is told as a mean.
            current: Numbers that are told as they are.
        """
        if self._writer is None:
            return
        self._means.add(averaged)
        done = step + 1
        if done % self._every:
            return
        means = self._means.take()
        shown = {name: f"{value:.4f}" for name, value in means.items()}
        self._bar.set_postfix(shown, refresh=False)
        speed = self._speed(done)
        for name, value in {**means, **speed, **current}.items():
            self._writer.add_scalar(name, value, done)
        self._told.add(means)
        if done % self._tell_every == 0:
            said = ", ".join(f"{name} {value:.4g}" for name, value in self._told.take().items())
            hours = speed["hours_left"]
            tqdm.write(f"step {done} of {self._num_steps}: {said}, {hours:.2f} hours left")

    def _speed(self, done: int) -> dict[str, float]:
        before, then = self._began
        self._began = (done, time.monotonic())
        rate = (done - before) / max(self._began[1] - then, 1e-9)
        return {"steps_per_second": rate, "hours_left": (self._num_steps - done) / rate / 3600}

    def figures(self, step: int, figures: Figures) -> None:
        """Write what an evaluation found."""
        if self._writer is None:
            return
        numbers = {k: v for k, v in figures.items() if not isinstance(v, Tensor)}
        for name, figure in figures.items():
            if isinstance(figure, Tensor):
                self._writer.add_image(f"evaluate/{name}", figure, step)
            else:
                self._writer.add_scalar(f"evaluate/{name}", figure, step)
        if numbers:
            tqdm.write(f"step {step}: " + ", ".join(f"{k} {v:.3f}" for k, v in numbers.items()))

    def close(self) -> None:
        """Write what is left."""
        if self._writer is not None:
            self._writer.close()
