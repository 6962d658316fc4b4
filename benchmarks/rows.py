"""What a benchmark says: rows of ours against a baseline, measured in the same run."""

import math
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from benchmarks.pairs import Pairs


@dataclass(frozen=True)
class Row:
    """One comparison."""

    benchmark: str
    """Name of the module."""
    case: str
    """Sizes and what the baseline is."""
    measure: str
    """What was measured, with its unit."""
    precision: str
    """Of the numbers that are computed with, as torch names it: float32, bfloat16."""
    ours: float
    """Absolute; the median where there are pairs."""
    baseline: float
    """Absolute; the median where there are pairs."""
    target: float | None = None
    """Most that the ratio may be; None: there is no target."""
    ratios: tuple[float, ...] = ()
    """Of every pair; empty where one measurement says all, such as a peak of memory."""

    @classmethod
    def paired(
        cls,
        benchmark: str,
        case: str,
        measure: str,
        precision: str,
        pairs: Pairs,
        target: float | None = None,
    ) -> "Row":
        """Make the row of what was measured in pairs."""
        return cls(benchmark, case, measure, precision, *pairs.medians, target, pairs.ratios)

    @classmethod
    def from_json(cls, values: Mapping[str, Any]) -> "Row":
        """Read a row that `to_json` wrote."""
        names = cls.__dataclass_fields__
        known = {name: value for name, value in values.items() if name in names}
        return cls(**{**known, "ratios": tuple(values["ratios"])})

    def to_json(self) -> dict[str, Any]:
        """Write the row, with what follows from it, as plain JSON values."""
        return {**asdict(self), "ratio": self.ratio, "spread": self.spread, "is_met": self.is_met}

    @property
    def ratio(self) -> float:
        """Ours against the baseline; the median of the pairs where there are any."""
        if self.ratios:
            return statistics.median(self.ratios)
        return self.ours / self.baseline if self.baseline else float("nan")

    @property
    def spread(self) -> tuple[float, float] | None:
        """Lowest and highest ratio of the pairs; None without pairs."""
        return (min(self.ratios), max(self.ratios)) if self.ratios else None

    @property
    def is_met(self) -> bool | None:
        """Whether the target is met; None without one, or where nothing was measured."""
        return None if self.target is None or math.isnan(self.ratio) else self.ratio <= self.target


def table(rows: Sequence[Row], machine: str) -> str:
    """Lay rows out as Markdown, absolute columns marked with the machine.

    Args:
        rows: All measured on `machine`.
        machine: Its name, in a few words.
    """
    lines = [
        f"| benchmark | case | measure | precision | ours ({machine}) | baseline ({machine}) "
        "| ratio | lowest to highest | pairs | target | met |",
        "|---|---|---|---|---|---|---|---|---|---|---|",
    ]
    for row in rows:
        spread = f"{row.spread[0]:.3f} to {row.spread[1]:.3f}" if row.spread else ""
        target = "" if row.target is None else f"{row.target:.2f}"
        met = {None: "", True: "yes", False: "no"}[row.is_met]
        cells = (
            row.benchmark, row.case, row.measure, row.precision, f"{row.ours:.3g}",
            f"{row.baseline:.3g}", f"{row.ratio:.3f}", spread, str(len(row.ratios) or ""), target,
            met,
        )  # fmt: skip
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines)
