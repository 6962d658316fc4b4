"""The time of regenerating one foreground of two against generating all, on the shipped model."""

from benchmarks.machine import precision_of
from benchmarks.pairs import NUM_PAIRS, Pairs, alternate_seconds
from benchmarks.rows import Row
from benchmarks.shipped import load_shipped, shot

REFRESH = 4
"""Recompute given layers every so many steps. This is approximate (docs/log.md)."""


def rows(*, toy: bool) -> list[Row]:
    """Compare, with all streams given except foreground 2 and the full video."""
    pipeline = load_shipped()
    steps = 1 if toy else 24
    take = pipeline(**shot(1))
    given = {
        "background": take.background.rgb_TCHW,
        "foreground_1": take.foregrounds[0].rgb_TCHW,
        "alpha_1": take.foregrounds[0].alpha_T1HW,
    }
    calls = {
        "all": lambda: pipeline(**shot(steps)),
        "one": lambda: pipeline(**shot(steps, given)),
        "quick": lambda: pipeline(**shot(steps, given), refresh_given_every=REFRESH),
    }
    seconds = alternate_seconds(calls, 1 if toy else NUM_PAIRS)
    case = f"one foreground of two against all, {steps} steps"
    quick = f"{case}, given layers computed in one of {REFRESH}"
    precision = precision_of(pipeline.transformer)
    one, rarely = (Pairs.of(seconds, name, "all") for name in ("one", "quick"))
    return [
        Row.paired("regenerate", case, "take, s", precision, one, 0.75),
        Row.paired("regenerate", quick, "take, s", precision, rarely, 0.75),
    ]
