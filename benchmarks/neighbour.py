"""The effect of a neighbour on a ratio, in turns and one contestant after the other.

It compares a step of ours with plain Wan on as many tokens, as in `layers_price` at its smallest,
whose ratio is about 1. First they run alone. Then another process keeps one core busy from the
middle of one pair to the middle of another. Last, all steps of the baseline run before all of ours,
with the other process beside ours. That is how not to measure.
"""

import subprocess
import sys
from collections.abc import Callable

import torch
from torch import Tensor

from benchmarks.layers_price import compared_calls
from benchmarks.machine import precision_of
from benchmarks.models import TOY, WAN_1_3B, make_ours, plain_twin
from benchmarks.pairs import NUM_PAIRS, Pairs, alternate_seconds
from benchmarks.rows import Row

BUSY_LOOP = "while True: pass"
CONTESTANTS = ("S = 4", "plain")


class Neighbour:
    """A process that keeps one core busy from one call to another."""

    def __init__(self, first_call: int, last_call: int) -> None:
        """Plan the neighbour.

        Args:
            first_call: Number of the call before which it begins, from 0.
            last_call: Number of the call after which it ends.
        """
        self.first_call, self.last_call = first_call, last_call
        self._num_calls = 0
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def is_there(self) -> bool:
        """Say whether it runs now."""
        return self._process is not None

    def beside(self, call: Callable[[], object]) -> Callable[[], None]:
        """Wrap a call so that it counts. All wrapped calls count together."""

        def counted() -> None:
            if self._num_calls == self.first_call:
                self._process = subprocess.Popen([sys.executable, "-c", BUSY_LOOP])
            call()
            if self._num_calls == self.last_call:
                self._leave()
            self._num_calls += 1

        return counted

    def _leave(self) -> None:
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._process = None

    def __enter__(self) -> "Neighbour":
        return self

    def __exit__(self, *_: object) -> None:
        self._leave()


@torch.inference_mode()
def rows(*, toy: bool) -> list[Row]:
    """Measure the same ratio three times."""
    ours = make_ours(TOY if toy else WAN_1_3B, num_blocks=2)
    grid = (24, 1, 2) if toy else (24, 9, 14)
    every = compared_calls(ours, plain_twin(ours), grid)
    calls = {name: every[name] for name in CONTESTANTS}
    measured = {
        "alone": Pairs.of(alternate_seconds(calls), *CONTESTANTS),
        "in turn, a neighbour from the second pair to the last but one": _in_turn(calls),
        "one after the other, a neighbour beside ours": _one_by_one(calls),
    }
    precision = precision_of(ours)
    return [
        Row.paired("neighbour", f"ours against plain Wan, {case}", "step, s", precision, pairs)
        for case, pairs in measured.items()
    ]


def _in_turn(calls: dict[str, Callable[[], Tensor]]) -> Pairs:
    """Let the neighbour begin and end in the middle of a pair, both times beside ours."""
    with Neighbour(3, 2 * NUM_PAIRS - 4) as neighbour:
        beside = {name: neighbour.beside(call) for name, call in calls.items()}
        return Pairs.of(alternate_seconds(beside, num_warm_ups=0), *CONTESTANTS)


def _one_by_one(calls: dict[str, Callable[[], Tensor]]) -> Pairs:
    ours, baseline = CONTESTANTS
    before = alternate_seconds({baseline: calls[baseline]})
    with Neighbour(0, NUM_PAIRS - 1) as neighbour:
        after = alternate_seconds({ours: neighbour.beside(calls[ours])}, num_warm_ups=0)
    return Pairs.of({**before, **after}, ours, baseline)
