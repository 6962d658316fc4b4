"""The result of a benchmark: rows of ours against a baseline, measured in the same run."""

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
    """Sizes and the baseline."""
    measure: str
    """The measured quantity, with its unit."""
    precision: str
    """Precision of the computation, as torch names it: float32 or bfloat16."""
    ours: float
    """Value of ours, absolute, or the median of pairs."""
    baseline: float
    """Value of the baseline, absolute, or the median of pairs."""
    target: float | None = None
    """Largest ratio allowed. None means that there is no target."""
    ratios: tuple[float, ...] = ()
    """Ratio of every pair. Empty if one measurement is enough, as for a peak of memory."""

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
        """Make the row of a measurement in pairs."""
        return cls(benchmark, case, measure, precision, *pairs.medians, target, pairs.ratios)

    @classmethod
    def from_json(cls, values: Mapping[str, Any]) -> "Row":
        """Read a row that `to_json` wrote."""
        names = cls.__dataclass_fields__
        known = {name: value for name, value in values.items() if name in names}
        return cls(**{**known, "ratios": tuple(values["ratios"])})

    def to_json(self) -> dict[str, Any]:
        """Write the row, with its ratio and verdict, as plain JSON values."""
        return {**asdict(self), "ratio": self.ratio, "spread": self.spread, "is_met": self.is_met}

    @property
    def ratio(self) -> float:
        """Give the ratio of ours to the baseline. With pairs it is their median."""
        if self.ratios:
            return statistics.median(self.ratios)
        return self.ours / self.baseline if self.baseline else float("nan")

    @property
    def spread(self) -> tuple[float, float] | None:
        """Give the lowest and highest ratio of the pairs, or None without pairs."""
        return (min(self.ratios), max(self.ratios)) if self.ratios else None

    @property
    def is_met(self) -> bool | None:
        """Say whether the target is met. None without a target or a measurement."""
        return None if self.target is None or math.isnan(self.ratio) else self.ratio <= self.target


def table(rows: Sequence[Row], machine: str) -> str:
    """Write rows as Markdown, with the machine above absolute columns.

    Args:
        rows: Rows that were all measured on `machine`.
        machine: The machine's name, in a few words.
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
