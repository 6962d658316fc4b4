"""What a person sees of a run: a bar with the time left, and TensorBoard, of one process."""

import time
from collections.abc import Iterator, Mapping
from pathlib import Path

from torch import Tensor
from torch.utils.tensorboard import SummaryWriter
from tqdm import tqdm

Figures = Mapping[str, float | Tensor]
"""Numbers, and pictures (3, H, W) in [0, 1], by name."""

LOG_EVERY = 20
"""Steps between scalars."""


class Reports:
    """The bar and the events of a run; nothing in processes that are not the main one."""

    def __init__(self, folder: Path, first_step: int, num_steps: int, *, is_main: bool) -> None:
        # What a killed run wrote after its checkpoint is written again.
        self._writer = SummaryWriter(str(folder), purge_step=first_step) if is_main else None
        self._last, self._num_steps = (first_step, time.monotonic()), num_steps
        self._bar = tqdm(
            range(first_step, num_steps), initial=first_step, total=num_steps,
            mininterval=20, maxinterval=60, desc=folder.name, ascii=True, disable=not is_main,
        )  # fmt: skip

    def steps(self) -> Iterator[int]:
        """Yield the steps to make."""
        yield from self._bar

    def scalars(self, step: int, losses: Mapping[str, Tensor], others: dict[str, float]) -> None:
        """Write losses, other numbers, throughput and the hours left, now and then."""
        if step % LOG_EVERY or self._writer is None:
            return
        values = {name: float(value) for name, value in losses.items()}
        self._bar.set_postfix({name: f"{value:.4f}" for name, value in values.items()})
        before, then = self._last
        self._last = (step, time.monotonic())
        if step > before:
            rate = (step - before) / max(self._last[1] - then, 1e-9)
            values["steps_per_second"] = rate
            values["hours_left"] = (self._num_steps - step) / rate / 3600
        for name, value in (values | others).items():
            self._writer.add_scalar(name, value, step)

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
