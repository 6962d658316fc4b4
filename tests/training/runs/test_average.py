"""Averages of two models: between them, of one kind only, and served like any other."""

import json
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file
from typer.testing import CliRunner

from layert2v_model.errors import DamagedModel
from layert2v_model.folders.export import write_card
from layert2v_model.folders.model_folder import check_hashes, read_card
from layert2v_model.loading import load_pipeline
from layert2v_training.cli import app
from layert2v_training.runs.average import CannotAverage, average
from support.toy_model import make_toy_model_folder

WEIGHTS = "transformer/diffusion_pytorch_model.safetensors"


@pytest.fixture
def models(tmp_path: Path) -> tuple[Path, Path]:
    """Two models whose transformers differ by 1 in every parameter."""
    model, other = (make_toy_model_folder(tmp_path / name) for name in ("model", "other"))
    moved = {name: tensor + 1 for name, tensor in load_file(other / WEIGHTS).items()}
    save_file(moved, other / WEIGHTS, {"format": "pt"})
    write_card(other, read_card(other))
    return model, other


def _change_weight(folder: Path, part: str, name: str) -> None:
    path = folder / part
    weights = load_file(path)
    chosen = next(key for key in weights if key.startswith(name))
    weights[chosen] = weights[chosen] + 1
    save_file(weights, path, {"format": "pt"})


@pytest.mark.parametrize("share", [0.0, 0.25, 1.0])
def test_every_parameter_lies_between(
    models: tuple[Path, Path], tmp_path: Path, share: float
) -> None:
    average(*models, tmp_path / "out", share)

    mine, mixed = load_file(models[0] / WEIGHTS), load_file(tmp_path / "out" / WEIGHTS)
    assert mine.keys() == mixed.keys()
    for name, tensor in mine.items():
        torch.testing.assert_close(mixed[name], tensor + share)


def test_an_average_is_a_whole_model(models: tuple[Path, Path], tmp_path: Path) -> None:
    out = tmp_path / "out"

    done = CliRunner().invoke(app, ["average", *map(str, models), "--out", str(out)])

    assert done.exit_code == 0
    check_hashes(out, read_card(out))
    assert read_card(out)["id"] == out.name
    assert ", averaged with 0" in read_card(out)["description"]
    assert load_pipeline(out).transformer.config.prompt_visibility == "isolated"


def test_models_of_other_latents_are_refused(models: tuple[Path, Path], tmp_path: Path) -> None:
    _change_weight(models[1], "vae/diffusion_pytorch_model.safetensors", "encoder.")

    with pytest.raises(CannotAverage, match="differ in the VAE's encoder: average models"):
        average(*models, tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_models_of_other_settings_are_refused(models: tuple[Path, Path], tmp_path: Path) -> None:
    path = models[1] / "transformer" / "config.json"
    config = json.loads(path.read_text()) | {"prompt_visibility": "released"}
    path.write_text(json.dumps(config))

    with pytest.raises(CannotAverage, match="the transformer's settings"):
        average(*models, tmp_path / "out")


@pytest.mark.parametrize("part", ["transformer", "vae", "layert2v.json"])
def test_a_folder_that_is_no_whole_model_is_refused(
    models: tuple[Path, Path], tmp_path: Path, part: str
) -> None:
    (models[0] / part).rename(tmp_path / "elsewhere")

    with pytest.raises(DamagedModel):
        average(*models, tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_nothing_is_written_over(models: tuple[Path, Path]) -> None:
    done = CliRunner().invoke(app, ["average", *map(str, models), "--out", str(models[0])])

    assert done.exit_code == 2
    assert "exists" in done.stderr
