"""Measures ratios. Contestants take turns, and pairs are compared.

A machine is seldom quiet. If two contestants are measured minutes apart, a neighbour that begins
between them makes one of them look slow. In turns both meet it, and only the pairs in which it
begins or ends are wrong. The median of `NUM_PAIRS` pairs then does not move.
"""

import statistics
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TypeVar

T = TypeVar("T")
Clock = Callable[[], float]
"""Gives seconds from an arbitrary beginning."""

NUM_PAIRS = 6
"""The least even number whose median survives two wrong pairs that err in the same direction. It is
even, so that each contestant is first equally often."""


def alternate(
    contestants: Mapping[str, Callable[[], T]], num_pairs: int, *, num_warm_ups: int = 1
) -> dict[str, list[T]]:
    """Call contestants in turn, round after round, and every other round in reversed order.

    Args:
        contestants: The calls, by name.
        num_pairs: Rounds, from 1.
        num_warm_ups: Earlier rounds, whose results are dropped, 0 or more.

    Returns:
        The results of each contestant, by name, in the order of rounds.
    """
    for _ in range(num_warm_ups):
        for call in contestants.values():
            call()
    results: dict[str, list[T]] = {name: [] for name in contestants}
    for number in range(num_pairs):
        order = list(contestants)
        for name in reversed(order) if number % 2 else order:
            results[name].append(contestants[name]())
    return results


def timed(call: Callable[[], object], clock: Clock = time.perf_counter) -> Callable[[], float]:
    """Return a contestant that runs `call` and returns its seconds."""

    def seconds() -> float:
        begun = clock()
        call()
        return clock() - begun

    return seconds


def alternate_seconds(
    calls: Mapping[str, Callable[[], object]],
    num_pairs: int = NUM_PAIRS,
    *,
    num_warm_ups: int = 1,
    clock: Clock = time.perf_counter,
) -> dict[str, list[float]]:
    """Time calls in the order of `alternate`. Gives seconds by name and round."""
    contestants = {name: timed(call, clock) for name, call in calls.items()}
    return alternate(contestants, num_pairs, num_warm_ups=num_warm_ups)


@dataclass(frozen=True)
class Pairs:
    """Values of ours and of the baseline, one of each for every round."""

    ours: tuple[float, ...]
    baseline: tuple[float, ...]

    @classmethod
    def of(cls, measured: Mapping[str, list[float]], ours: str, baseline: str) -> "Pairs":
        """Choose two contestants from the result of `alternate`."""
        return cls(tuple(measured[ours]), tuple(measured[baseline]))

    @classmethod
    def against(cls, ours: list[float], wanted: float) -> "Pairs":
        """Compare every round with one wanted value, which no neighbour can slow down."""
        return cls(tuple(ours), (wanted,) * len(ours))

    @property
    def ratios(self) -> tuple[float, ...]:
        """Give the ratio of ours to the baseline, round by round."""
        return tuple(a / b for a, b in zip(self.ours, self.baseline, strict=True))

    @property
    def medians(self) -> tuple[float, float]:
        """Give the medians of ours and of the baseline. They are true of one machine only."""
        return statistics.median(self.ours), statistics.median(self.baseline)
