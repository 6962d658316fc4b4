"""Runs of `layert2v-finish` on a folder of layers."""

from pathlib import Path

from click.testing import Result
from typer.testing import CliRunner

from layert2v_model.finishing.cli import app

SIZE = (48, 72)


def finish_folder(folder: Path, out: Path, *options: str) -> Result:
    return CliRunner().invoke(app, [str(folder), "--out", str(out), *options])


def refusal(folder: Path, out: Path, *options: str) -> str:
    """Give the one sentence of a refused run, which must leave nothing behind."""
    before = sorted(out.parent.rglob("*"))
    result = finish_folder(folder, out, *options)
    assert result.exit_code == 2
    assert result.stdout == ""
    assert sorted(out.parent.rglob("*")) == before
    last = result.stderr.strip().splitlines()[-1]
    assert last.startswith("layert2v-finish: ")
    return last
