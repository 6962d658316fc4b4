from collections.abc import Callable
from dataclasses import dataclass, field
from statistics import median

import pytest

from benchmarks.pairs import NUM_PAIRS, Pairs, alternate, alternate_seconds


@dataclass
class BusyMachine:
    """A clock that work moves on, twice as slowly while a neighbour is there."""

    neighbour: tuple[float, float]
    """When it comes and when it leaves, in seconds of the clock."""
    now: float = 0.0
    called: list[str] = field(default_factory=list)

    def __call__(self) -> float:
        return self.now

    def contestant(self, name: str, work_s: float) -> Callable[[], None]:
        """Return a call that takes `work_s` where no neighbour is."""

        def call() -> None:
            self.called.append(name)
            left, (comes, leaves) = work_s, self.neighbour
            before = min(left, max(0.0, comes - self.now))
            self.now, left = self.now + before, left - before
            beside = min(left, max(0.0, leaves - self.now) / 2) if self.now >= comes else 0.0
            self.now += 2 * beside + (left - beside)

        return call


def _measured(machine: BusyMachine, ours_s: float, baseline_s: float, num_pairs: int) -> Pairs:
    calls = {
        "baseline": machine.contestant("baseline", baseline_s),
        "ours": machine.contestant("ours", ours_s),
    }
    seconds = alternate_seconds(calls, num_pairs, num_warm_ups=0, clock=machine)
    return Pairs.of(seconds, "ours", "baseline")


@pytest.mark.parametrize("comes", [step / 4 for step in range(64)])
@pytest.mark.parametrize("stays", [0.5, 1.0, 3.5, 8.0, 13.0, 100.0])
def test_a_neighbour_that_doubles_every_time_leaves_the_median_ratio(
    comes: float, stays: float
) -> None:
    pairs = _measured(BusyMachine((comes, comes + stays)), 1.0, 1.0, NUM_PAIRS)

    assert median(pairs.ratios) == 1.0


@pytest.mark.parametrize("comes", [0.0, 2.2, 4.9, 7.1])
def test_a_true_difference_shows_beside_a_neighbour(comes: float) -> None:
    pairs = _measured(BusyMachine((comes, comes + 6.0)), 1.25, 1.0, NUM_PAIRS)

    assert median(pairs.ratios) == pytest.approx(1.25)


def test_the_pairs_in_which_a_neighbour_comes_show_in_the_spread() -> None:
    pairs = _measured(BusyMachine((1.0, 100.0)), 1.0, 1.0, NUM_PAIRS)

    assert max(pairs.ratios) == 2.0
    assert min(pairs.ratios) == 1.0


def test_measured_one_after_the_other_a_neighbour_makes_a_ratio_of_its_own() -> None:
    machine = BusyMachine((float(NUM_PAIRS), 100.0))
    seconds = [
        alternate_seconds({"one": machine.contestant("one", 1.0)}, num_warm_ups=0, clock=machine)
        for _ in ("baseline", "ours")
    ]

    assert median(seconds[1]["one"]) / median(seconds[0]["one"]) == 2.0


def test_contestants_take_turns_and_swap_who_is_first() -> None:
    called: list[str] = []
    calls = {name: lambda name=name: called.append(name) for name in ("baseline", "ours")}

    alternate(calls, 3)

    warm_up, *rounds = [tuple(called[i : i + 2]) for i in range(0, len(called), 2)]
    assert warm_up == ("baseline", "ours")
    assert rounds == [("baseline", "ours"), ("ours", "baseline"), ("baseline", "ours")]


def test_of_the_pairs_each_is_first_equally_often() -> None:
    assert NUM_PAIRS % 2 == 0


def test_warm_ups_are_not_among_the_results() -> None:
    counts = iter(range(10))

    results = alternate({"ours": lambda: next(counts)}, 2, num_warm_ups=3)

    assert results == {"ours": [3, 4]}


def test_results_stand_in_the_order_of_rounds() -> None:
    counts = iter(range(10))
    calls = {name: lambda: next(counts) for name in ("baseline", "ours")}

    results = alternate(calls, 2, num_warm_ups=0)

    assert results == {"baseline": [0, 3], "ours": [1, 2]}


def test_a_wanted_value_stands_against_every_round() -> None:
    assert Pairs.against([0.1, 0.3], 0.2).ratios == (0.5, pytest.approx(1.5))
