"""Measures the stages of a task, tells their progress, and hears a cancel."""

import time
from collections.abc import Callable

from layert2v_backend.worker_protocol import StageProgress, WorkerMessage
from layert2v_domain.job import JobStage

_TELL_INTERVAL_S = 0.1
"""Seconds between reports. Each is a durable row, and ten a second suffice for a progress bar."""


class Cancelled(Exception):
    """Raised inside a task when it must stop."""


class Stopwatch:
    """Measures stages, tells progress, and notices a cancel at every step."""

    def __init__(
        self, emit: Callable[[WorkerMessage], None], is_cancelled: Callable[[], bool]
    ) -> None:
        self.seconds: dict[str, float] = {}
        self._emit = emit
        self._is_cancelled = is_cancelled
        self._stage: JobStage | None = None
        self._mark = time.monotonic()
        self._told = -_TELL_INTERVAL_S

    def at(self, stage: JobStage, step: int = 0, num_steps: int = 0) -> None:
        """Say that `step` of `num_steps` of a stage are done.

        Raises:
            Cancelled: The task must stop.
        """
        if self._is_cancelled():
            raise Cancelled
        now = time.monotonic()
        is_news = stage is not self._stage or step == num_steps
        self._account(now)
        self._stage = stage
        if is_news or now - self._told >= _TELL_INTERVAL_S:
            self._told = now
            self._emit(StageProgress(stage, step, num_steps))

    def stop(self) -> dict[str, float]:
        """End the last stage and give the seconds of all."""
        self._account(time.monotonic())
        return self.seconds

    def _account(self, now: float) -> None:
        """Add the time since the last mark to the current stage."""
        if self._stage:
            self.seconds[self._stage] = self.seconds.get(self._stage, 0.0) + now - self._mark
        self._mark = now
