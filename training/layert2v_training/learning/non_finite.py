"""Numbers that are not finite: their steps are left out, and no state is saved."""

import logging
from pathlib import Path

from layert2v_training.learning.optimizers import LoopRecipe, learning_rate_at

log = logging.getLogger(__name__)

MAX_SKIPPED = 10
"""Steps in a row that may be left out: a bad batch is one or two, a broken run all of them."""


class Diverged(ArithmeticError):
    """Raised when a run has no finite numbers any more. Its last checkpoint is whole."""


class SkippedSteps:
    """Counts the steps of a run that changed nothing because their gradients were not finite."""

    def __init__(self, folder: Path, recipe: LoopRecipe) -> None:
        self._folder, self._recipe = folder, recipe
        self.count, self._in_a_row = 0, 0

    def add(self, step: int, norm: float) -> None:
        """Count a step and say so.

        Raises:
            Diverged: It is one of too many in a row.
        """
        self.count, self._in_a_row = self.count + 1, self._in_a_row + 1
        log.warning(
            "%s: step %d left out, the norm of its gradients is %s; %d so far",
            self._folder.name, step, norm, self.count,
        )  # fmt: skip
        if self._in_a_row >= MAX_SKIPPED:
            rate = learning_rate_at(self._recipe, step)
            raise Diverged(
                f"{self._folder.name}: gradients were not finite in {MAX_SKIPPED} steps in a row, "
                f"the last of them {step} at the rate {rate:.2e}; nothing was saved since. Lower "
                f"loop.learning_rate or give --precision float32, and run the same command again "
                f"with --accept-changes"
            )

    def end_row(self) -> None:
        """Note that a step was made."""
        self._in_a_row = 0
