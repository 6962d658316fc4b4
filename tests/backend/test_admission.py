"""Shots that can never fit are refused before they are queued."""

from dataclasses import replace
from pathlib import Path

import pynvml
import pytest

from layert2v_backend.admission import check_memory, default_format, estimate_shot, find_device
from layert2v_backend.errors import InvalidShot, ModelDamaged
from layert2v_backend.models import Model, read_limits
from layert2v_model.cost.device import Device
from support.journal_entries import SHOT
from support.toy_model import make_toy_model_folder

TOY = replace(SHOT, width=32, height=32, num_frames=5)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_toy_model_folder(tmp_path_factory.mktemp("models") / "toy")


def test_a_shot_that_never_fits_is_refused_with_value_limit_and_remedy(folder: Path) -> None:
    with pytest.raises(InvalidShot) as refused:
        check_memory(TOY, folder, Device("a small one", 1 << 10))

    [violation] = refused.value.violations
    assert violation.field == "shot"
    assert "the shot needs" in violation.description
    assert "a small one has 0.0 GiB; make the picture smaller" in violation.description


def test_a_shot_that_fits_is_let_through(folder: Path) -> None:
    check_memory(TOY, folder, Device("a large one", 1 << 40))


def test_a_model_that_cannot_be_measured_is_left_to_the_worker(tmp_path: Path) -> None:
    check_memory(TOY, tmp_path, Device("a small one", 1 << 10))


def test_without_a_gpu_jobs_have_this_computers_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    def find_none() -> None:
        raise pynvml.NVMLError(pynvml.NVML_ERROR_LIBRARY_NOT_FOUND)

    monkeypatch.setattr(pynvml, "nvmlInit", find_none)

    assert find_device(0).is_host
    assert find_device(0).memory_bytes > 1 << 20
    assert find_device(1234).memory_bytes == 1234


def test_a_shot_is_estimated_with_the_defaults_of_its_model(folder: Path) -> None:
    limits = read_limits(folder)

    cost, chosen, words = estimate_shot(
        default_format(limits, 0, 0, 0, 2, 0), Model(limits, folder), 0
    )

    assert cost.tokens == 6 * 2 * 4
    assert cost.seconds > 0
    assert chosen.fits
    assert words.startswith("computes in ")


def test_a_shot_in_float32_needs_more_than_in_bfloat16(folder: Path) -> None:
    limits = read_limits(folder)
    shot = default_format(limits, 0, 0, 0, 2, 0)

    exact, half = (
        estimate_shot(shot, Model(limits, folder), 0, precision)
        for precision in ("float32", "bfloat16")
    )

    assert exact[1].peak_bytes > half[1].peak_bytes
    assert exact[2].startswith("computes in float32 as asked; ")


def test_a_damaged_model_cannot_be_estimated(folder: Path, tmp_path: Path) -> None:
    limits = read_limits(folder)

    with pytest.raises(ModelDamaged, match="install the model again"):
        estimate_shot(default_format(limits, 0, 0, 0, 1, 0), Model(limits, tmp_path), 0)
