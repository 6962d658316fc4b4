"""Run benchmarks, each in a process of its own: `python -m benchmarks [name ...] [--toy]`.

Prints one table; writes it beside a JSON copy into --out.
"""

import argparse
import importlib
import json
import platform
import subprocess
import sys
import time
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch

from benchmarks.rows import Row, table

NAMES = (
    "layers_price", "against_release", "growth", "regenerate", "pipeline_share", "overlap",
    "approximations", "finishing",
)  # fmt: skip


def main() -> None:
    """Run what the command line names."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("names", nargs="*", metavar="name", help=", ".join(NAMES))
    parser.add_argument("--toy", action="store_true", help="toy sizes: only that they run")
    parser.add_argument("--out", type=Path, default=Path("build"), help="folder for the table")
    parser.add_argument("--child", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if unknown := set(arguments.names) - set(NAMES):
        parser.error(f"{', '.join(sorted(unknown))}: use {', '.join(NAMES)}")
    if arguments.child:
        found = importlib.import_module(f"benchmarks.{arguments.child}").rows(toy=arguments.toy)
        json.dump([asdict(row) for row in found], sys.stdout)
        return
    rows = [row for name in arguments.names or NAMES for row in _run(name, toy=arguments.toy)]
    _write(rows, arguments.out, toy=arguments.toy)


def _run(name: str, *, toy: bool) -> list[Row]:
    command = [sys.executable, "-m", "benchmarks", "--child", name, *(["--toy"] if toy else [])]
    print(f"{name} ...", end=" ", file=sys.stderr, flush=True)
    start = time.perf_counter()
    result = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True)
    print(f"{time.perf_counter() - start:.0f} s", file=sys.stderr)
    return [Row(**row) for row in json.loads(result.stdout.splitlines()[-1])]


def _write(rows: list[Row], folder: Path, *, toy: bool) -> None:
    machine = _machine()
    heading = "Toy sizes: these figures mean nothing.\n\n" if toy else ""
    page = f"{heading}{table(rows)}\n\n{', '.join(f'{k}: {v}' for k, v in machine.items())}\n"
    print(page)
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "benchmarks.md").write_text(page)
    copy = {"machine": machine, "toy": toy, "rows": [
        {**asdict(row), "ratio": row.ratio, "is_met": row.is_met} for row in rows
    ]}  # fmt: skip
    (folder / "benchmarks.json").write_text(json.dumps(copy, indent=1) + "\n")


def _machine() -> dict[str, Any]:
    info = Path("/proc/cpuinfo")
    models = [line for line in info.read_text().splitlines() if line.startswith("model name")]
    return {
        "date": time.strftime("%Y-%m-%d"),
        "command": " ".join(["python -m benchmarks", *sys.argv[1:]]),
        "processor": models[0].split(":")[1].strip() if models else platform.machine(),
        "threads": torch.get_num_threads(),
        "torch": torch.__version__,
    }


if __name__ == "__main__":
    main()
