"""Runs of `layert2v-evaluate` and their inputs."""

import json
from pathlib import Path
from typing import Any

from typer.testing import CliRunner, Result

from layert2v_model.stack import Stack
from layert2v_training.evaluation.cli import app
from support.layer_folders import write_stack

LINE = {"prompt": "", "background": "a beach", "foregrounds": ["a fox"], "seed": 3}


def write_prompts(folder: Path, *lines: dict[str, Any]) -> Path:
    """Write lines into `prompts.jsonl`, and return the file."""
    path = folder / "prompts.jsonl"
    path.write_text("\n".join(json.dumps(line) for line in lines))
    return path


def evaluate(source: Path, out: Path, *options: str | Path) -> Result:
    """Run the command without the pictures of scenes."""
    arguments = [source, "--out", out, "--assets", out / "none", *options]
    return CliRunner().invoke(app, [str(argument) for argument in arguments])


def report_of(source: Path, out: Path, *options: str | Path) -> dict[str, Any]:
    """Read the report of a run, which must succeed."""
    result = evaluate(source, out, *options)
    assert result.exit_code == 0, result.stderr
    report: dict[str, Any] = json.loads((out / "report.json").read_text())
    return report


def refusal_of(source: Path, out: Path, *options: str | Path) -> str:
    """Return the one sentence of a refused run, which must write nothing."""
    result = evaluate(source, out, *options)
    assert result.exit_code == 2, result.output
    assert result.stdout == ""
    assert not (out / "report.json").exists()
    last = result.stderr.strip().splitlines()[-1]
    assert last.startswith("layert2v-evaluate: ")
    return last


def write_shots(tmp_path: Path, **scenes: Stack) -> Path:
    """Write scenes by name into `shots`, and return that folder."""
    for name, scene in scenes.items():
        write_stack(tmp_path / "shots" / name, scene)
    return tmp_path / "shots"
