"""Keeps measured rows in a JSON file, and their tables in a page of documentation.

The file holds each benchmark with its machine and date, so that one benchmark can be measured again
without the others. In the page only the part between two marks is written.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from benchmarks.machine import Machine
from benchmarks.rows import Row, table

BEGIN, END = "<!-- tables: written by benchmarks -->", "<!-- end of tables -->"
"""The marks around the page's tables."""


class UnmarkedPage(Exception):
    """Raised when a page has no place for tables. Says which marks are missing."""


@dataclass(frozen=True)
class Measured:
    """One benchmark's rows with their machine."""

    machine: Machine
    rows: tuple[Row, ...]


def read_measured(path: Path) -> dict[str, Measured]:
    """Read the file of `write_measured`, by benchmark. Empty if the file is missing."""
    if not path.is_file():
        return {}
    return {
        name: Measured(Machine(**each["machine"]), tuple(map(Row.from_json, each["rows"])))
        for name, each in json.loads(path.read_text())["benchmarks"].items()
    }


def write_measured(path: Path, measured: Mapping[str, Measured], *, toy: bool = False) -> None:
    """Write rows, with the ratio, spread and verdict of each, for programs."""
    benchmarks = {
        name: {"machine": each.machine.to_json(), "rows": [row.to_json() for row in each.rows]}
        for name, each in measured.items()
    }
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps({"toy": toy, "benchmarks": benchmarks}, indent=1) + "\n")


def tables(measured: Mapping[str, Measured]) -> str:
    """Write everything as Markdown, with one table for each machine and date."""
    machines = list(dict.fromkeys(each.machine for each in measured.values()))
    return "\n\n".join(
        _described(machine, [row for x in measured.values() if x.machine == machine
                             for row in x.rows])
        for machine in machines
    )  # fmt: skip


def _described(machine: Machine, rows: Sequence[Row]) -> str:
    made = f"Measured on {machine.date} with torch {machine.torch} on: {machine.name}."
    return f"{made}\n\n{table(rows, machine.name)}"


def update_page(page: Path, found: Mapping[str, Measured]) -> None:
    """Put benchmarks into a page and the JSON file beside it. All others stay unchanged.

    Raises:
        UnmarkedPage: The page has no marks around its tables. Nothing is written.
    """
    before, after = _around_tables(page)
    record = page.with_suffix(".json")
    measured = {**read_measured(record), **found}
    write_measured(record, measured)
    page.write_text(f"{before}{BEGIN}\n\n{tables(measured)}\n\n{END}{after}")


def _around_tables(page: Path) -> tuple[str, str]:
    before, begin, rest = page.read_text().partition(BEGIN)
    _, end, after = rest.partition(END)
    if not begin or not end:
        raise UnmarkedPage(f"{page} has no lines '{BEGIN}' and '{END}': put them around its tables")
    return before, after
