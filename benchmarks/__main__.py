"""Run benchmarks, each in a process of its own: `python -m benchmarks [name ...] [--toy]`.

Prints the table. Writes it with a JSON copy into --out, and with --page into a page of docs.
"""

import argparse
import importlib
import json
import subprocess
import sys
import time
from pathlib import Path

from benchmarks.machine import Machine
from benchmarks.page import Measured, UnmarkedPage, tables, update_page, write_measured
from benchmarks.rows import Row

NAMES = (
    "layers_price", "against_release", "growth", "regenerate", "pipeline_share", "overlap",
    "approximations", "finishing", "neighbour",
)  # fmt: skip


def main() -> None:
    """Run the benchmarks that the command line names."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("names", nargs="*", metavar="name", help=", ".join(NAMES))
    parser.add_argument(
        "--toy", action="store_true", help="use toy sizes, which only check that they run"
    )
    parser.add_argument("--out", type=Path, default=Path("build"), help="folder for the table")
    parser.add_argument("--page", type=Path, help="page in which these tables replace the old ones")
    parser.add_argument("--child", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if unknown := set(arguments.names) - set(NAMES):
        parser.error(f"unknown benchmark {', '.join(sorted(unknown))}: use {', '.join(NAMES)}")
    if arguments.toy and arguments.page:
        parser.error("--toy measures nothing: leave out --page")
    if arguments.child:
        found = importlib.import_module(f"benchmarks.{arguments.child}").rows(toy=arguments.toy)
        json.dump([row.to_json() for row in found], sys.stdout)
        return
    measured: dict[str, Measured] = {}
    try:
        # The page is written after each benchmark, so that a stop keeps the figures so far.
        for name in arguments.names or NAMES:
            if arguments.page:
                update_page(arguments.page, measured)
            measured[name] = Measured(Machine.here(), _run(name, toy=arguments.toy))
        if arguments.page:
            update_page(arguments.page, measured)
    except UnmarkedPage as error:
        sys.exit(str(error))
    _write(measured, arguments.out, toy=arguments.toy)


def _run(name: str, *, toy: bool) -> tuple[Row, ...]:
    command = [sys.executable, "-m", "benchmarks", "--child", name, *(["--toy"] if toy else [])]
    print(f"{name} ...", end=" ", file=sys.stderr, flush=True)
    start = time.perf_counter()
    result = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True)
    print(f"{time.perf_counter() - start:.0f} s", file=sys.stderr)
    return tuple(Row.from_json(row) for row in json.loads(result.stdout.splitlines()[-1]))


def _write(measured: dict[str, Measured], folder: Path, *, toy: bool) -> None:
    heading = "These figures of toy sizes mean nothing.\n\n" if toy else ""
    text = f"{heading}{tables(measured)}\n"
    print(text)
    write_measured(folder / "benchmarks.json", measured, toy=toy)
    (folder / "benchmarks.md").write_text(text)


if __name__ == "__main__":
    main()
