"""What a benchmark says: rows of ours against a baseline, measured in the same run."""

import math
import statistics
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

Calls = Mapping[str, Callable[[], object]]


@dataclass(frozen=True)
class Row:
    """One comparison."""

    benchmark: str
    """Name of the module."""
    case: str
    """Sizes and what the baseline is."""
    measure: str
    """What was measured, with its unit."""
    ours: float
    baseline: float
    target: float | None = None
    """Most that ours / baseline may be; None: there is no target."""

    @property
    def ratio(self) -> float:
        """Ours against the baseline."""
        return self.ours / self.baseline if self.baseline else float("nan")

    @property
    def is_met(self) -> bool | None:
        """Whether the target is met; None without one, or where nothing was measured."""
        return None if self.target is None or math.isnan(self.ratio) else self.ratio <= self.target


def median_seconds(
    calls: Calls, rounds: int, *, is_warm: bool = False, budget_s: float = 120.0
) -> dict[str, float]:
    """Time calls in turn, round after round, so that a slow moment of the machine meets them all.

    Args:
        calls: What to time, by name.
        rounds: Timed calls of each; the median is returned.
        is_warm: Leave out the first, untimed round.
        budget_s: Seconds after which no further round begins; there is always one.
    """
    if not is_warm:
        for call in calls.values():
            call()
    times: dict[str, list[float]] = {name: [] for name in calls}
    begun = time.perf_counter()
    for done in range(rounds):
        if done and time.perf_counter() - begun > budget_s:
            break
        for name, call in calls.items():
            start = time.perf_counter()
            call()
            times[name].append(time.perf_counter() - start)
    return {name: statistics.median(values) for name, values in times.items()}


def table(rows: Sequence[Row]) -> str:
    """Lay rows out as Markdown."""
    lines = [
        "| benchmark | case | measure | ours | baseline | ratio | target | met |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for row in rows:
        target = "" if row.target is None else f"{row.target:.2f}"
        met = {None: "", True: "yes", False: "no"}[row.is_met]
        cells = (row.benchmark, row.case, row.measure, f"{row.ours:.3g}", f"{row.baseline:.3g}",
                 f"{row.ratio:.3f}", target, met)  # fmt: skip
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines)
