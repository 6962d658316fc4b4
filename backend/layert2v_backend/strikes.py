"""Counts how often a job has killed its worker or backend, to decide on another try."""

from collections.abc import Sequence
from dataclasses import dataclass

NEW_PROGRESS = 0.1
"""Share of a job by which an attempt must surpass all earlier ones, so that its death counts "
"from the start. With smaller steps a job that dies at one place could start over for ever, "
"because its last report varies."""


@dataclass(frozen=True)
class Attempt:
    """An attempt that has ended."""

    outcome: str
    """`lost` if it died, alone or with the backend. `interrupted` if the backend stopped cleanly.
    """
    furthest: float
    """Share of the job in its last report, 0 to 1."""


def num_strikes(attempts: Sequence[Attempt]) -> int:
    """Count the deaths from the last attempt that made new progress, its own included.

    Clean stops are no deaths, but their work counts as progress.
    """
    strikes, furthest = 0, 0.0
    for attempt in attempts:
        is_further = attempt.furthest >= furthest + NEW_PROGRESS
        if is_further:
            strikes, furthest = 0, attempt.furthest
        strikes += attempt.outcome == "lost"
    return strikes
