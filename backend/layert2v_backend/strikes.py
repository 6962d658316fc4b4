"""How often a job has killed what it ran in, which decides whether it is tried again."""

from collections.abc import Sequence
from dataclasses import dataclass

NEW_PROGRESS = 0.1
"""Share of a job by which an attempt must get beyond all earlier ones for its death to be a new
one. Smaller steps would let a job that dies at one place start over for ever, because where
exactly it was last heard of varies."""


@dataclass(frozen=True)
class Attempt:
    """An attempt that has ended."""

    outcome: str
    """`lost`: it died, alone or with the backend. `interrupted`: the backend was stopped cleanly.
    """
    furthest: float
    """Share of the job that it had reported at last, 0 to 1."""


def num_strikes(attempts: Sequence[Attempt]) -> int:
    """Count the deaths since an attempt last made new progress, that attempt's own included.

    Clean stops are no deaths. What they got done counts as progress all the same.
    """
    strikes, furthest = 0, 0.0
    for attempt in attempts:
        is_further = attempt.furthest >= furthest + NEW_PROGRESS
        if is_further:
            strikes, furthest = 0, attempt.furthest
        strikes += attempt.outcome == "lost"
    return strikes
