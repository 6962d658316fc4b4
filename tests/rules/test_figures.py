"""Every figure of a report is defined on the page of evaluation."""

import re
from pathlib import Path

from layert2v_training.evaluation.metrics.catalogue import METRICS

PAGE = Path(__file__).resolve().parents[2] / "docs" / "evaluation.md"


def figures_of(row: str) -> set[str]:
    """Give the names of a row of the table. `_part` replaces or follows an end of the first one."""
    names = re.findall(r"`([a-z_0-9]+)`", row.split("|")[1])
    if not names:
        return set()
    words = names[0].split("_")
    starts = ["_".join(words[: count + 1]) for count in range(len(words))]
    ends = [name for name in names if name.startswith("_")]
    return set(names) | {start + end for start in starts for end in ends}


def test_the_page_of_evaluation_defines_every_figure() -> None:
    rows = [line for line in PAGE.read_text(encoding="utf-8").splitlines() if line[:2] == "| "]

    defined = set[str]().union(*map(figures_of, rows))

    assert sorted(METRICS.keys() - defined) == []


def test_a_name_that_begins_with_a_stroke_shares_the_start_of_the_first() -> None:
    row = "| R1 `warp_error`, `_background`, `warp_seam` | change |"

    assert {"warp_error_background", "warp_background", "warp_seam"} <= figures_of(row)
    assert "error_background" not in figures_of(row)
