"""The tool that shows that a trained model is served."""

import asyncio
import shutil
from pathlib import Path

import pytest

import serve_once
from serve_once import NotServed, backend, take_one

TINY = Path(__file__).parents[2] / "backend" / "layert2v_model" / "tiny"


@pytest.mark.slow
def test_a_model_is_served_and_the_layers_of_a_shot_are_fetched(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    model = shutil.copytree(TINY, tmp_path / "model")

    with backend(model, tmp_path / "take") as address:
        folders = asyncio.run(take_one(address, "tiny", tmp_path / "take"))

    assert len(folders) >= 3
    assert all(list(folder.glob("*.png")) for folder in folders)
    told = capsys.readouterr().err
    assert "denoising, step 1 of 1" in told
    assert told.endswith("the shot is succeeded\n")


def test_a_backend_that_does_not_start_names_its_log(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(serve_once, "BACKEND", ("false",))

    with (
        pytest.raises(NotServed, match=r"see the reason in .*backend.log"),
        backend(tmp_path / "model", tmp_path / "take"),
    ):
        pass
