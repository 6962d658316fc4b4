"""Imports of checkpoints that a test has changed, and changes of their files."""

import json
from collections.abc import Callable
from pathlib import Path

from click.testing import Result
from safetensors.torch import load_file, save_file
from torch import Tensor
from typer.testing import CliRunner

from layert2v_model.released.cli import app

ADAPTER = "trained/adapter_model.safetensors"
SHARDS = "wan/diffusion_pytorch_model-0000{}-of-00002.safetensors"
WEIGHTS = "transformer/diffusion_pytorch_model.safetensors"


def import_into(out: Path, folder: Path, *options: str, wan: str = "wan") -> Result:
    """Import the checkpoints of `folder` into a model folder."""
    arguments = [str(folder / wan), str(folder / "trained"), "--out", str(out), *options]
    return CliRunner().invoke(app, arguments)


def refusal(folder: Path, *options: str, wan: str = "wan", most: int = 600) -> str:
    """Return the one sentence of a refused import, which must leave nothing behind.

    `most` bounds its characters.
    """
    before = sorted(folder.parent.rglob("*"))
    result = import_into(folder.parent / "out", folder, *options, wan=wan)
    assert result.exit_code == 2, result.output
    assert result.stdout == ""
    assert sorted(folder.parent.rglob("*")) == before
    sentence = result.stderr.strip().splitlines()[-1]
    assert sentence.startswith("layert2v-import: ")
    assert len(sentence) < most
    return sentence


def renamed(path: Path, rename: Callable[[str], str]) -> None:
    """Rename every tensor of a file."""
    state = {rename(name): value.clone() for name, value in load_file(path).items()}
    save_file(state, path, {"format": "pt"})


def changed(path: Path, change: Callable[[dict[str, Tensor]], object]) -> None:
    """Change the tensors of a file."""
    state = {name: value.clone() for name, value in load_file(path).items()}
    change(state)
    save_file(state, path, {"format": "pt"})


def edit_json(path: Path, **values: object) -> None:
    """Change fields of a JSON file, or write it if it does not exist."""
    content = json.loads(path.read_text()) if path.is_file() else {}
    path.write_text(json.dumps(content | values))
