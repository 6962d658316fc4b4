import errno
import json
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch

from layert2v_media.footage import Footage, read, read_matte
from layert2v_model.files import media
from layert2v_model.stack import Layer, Role, Stack
from support.finishing import SIZE, finish_folder, refusal
from support.layer_folders import write_stack
from support.layered_scenes import faded, make_scene
from support.waiting import HANG_S


def _stack_from(out: Path, full: media.Pixels, names: list[str]) -> Stack:
    """What the written files hold, as a stack of 8-bit layers."""
    layers = []
    for name in ["background", *names]:
        frames_THWC = torch.from_numpy(read(Footage(out / name))).permute(0, 3, 1, 2)
        alpha = frames_THWC[:, 3:] if name != "background" else torch.ones_like(frames_THWC[:, :1])
        role = Role.FOREGROUND if name != "background" else Role.BACKGROUND
        coded = [(plane * 255).round() / 255 for plane in (frames_THWC[:, :3], alpha)]
        layers.append(Layer(role, *coded))
    return Stack(tuple(layers), torch.from_numpy(full).permute(0, 3, 1, 2))


def test_layers_are_written_under_the_names_of_the_input(shot: Path, tmp_path: Path) -> None:
    result = finish_folder(shot, tmp_path / "out")

    assert result.exit_code == 0, result.stderr
    written = sorted(str(p.relative_to(tmp_path / "out")) for p in (tmp_path / "out").rglob("*.*"))
    assert written == [
        "background/background_0001.exr",
        "background/background_0002.exr",
        "foreground/foreground_0001.exr",
        "foreground/foreground_0002.exr",
        "matte/matte_0001.png",
        "matte/matte_0002.png",
    ]
    assert [path.name for path in tmp_path.iterdir() if path.name.startswith(".")] == []


def test_stdout_is_the_report_and_nothing_else(shot: Path, tmp_path: Path) -> None:
    report = json.loads(finish_folder(shot, tmp_path / "out").stdout)

    assert (report["frames"], report["width"], report["height"]) == (2, 72, 48)
    assert report["foreground_form"] == {"foreground": "straight"}
    assert report["recomposition_before"] < 25
    assert report["recomposition_after"] > 45
    assert report["worst_frame"] in (0, 1)
    assert report["empty_mattes"] == []


def test_the_files_composite_to_what_the_report_says(tmp_path: Path) -> None:
    folder = write_stack(tmp_path / "shot", faded(make_scene(2, 2, *SIZE)))

    report = json.loads(finish_folder(folder, tmp_path / "out").stdout)

    full = read(Footage(folder / "full"))
    stack = _stack_from(tmp_path / "out", full, ["foreground_1", "foreground_2"])
    error = (stack.flatten() - stack.full_TCHW).square().mean().item()
    assert -10 * np.log10(error) == pytest.approx(report["recomposition_after"], abs=1)
    matte = read_matte(Footage(tmp_path / "out" / "matte_2"))
    assert np.abs(matte - stack.layers[2].alpha_T1HW[:, 0].numpy()).max() <= 1.01 / 255


def test_finished_layers_can_be_finished_again(shot: Path, tmp_path: Path) -> None:
    finish_folder(shot, tmp_path / "out")
    shutil.copytree(shot / "full", tmp_path / "again" / "full")
    for name in ("background", "foreground", "matte"):
        shutil.copytree(tmp_path / "out" / name, tmp_path / "again" / name)

    report = json.loads(finish_folder(tmp_path / "again", tmp_path / "out2").stdout)

    assert report["foreground_form_reason"] == {
        "foreground": "its files have an alpha of their own"
    }
    assert report["recomposition_before"] > 45
    assert report["matte_change"] < 0.01


def test_an_out_that_is_not_empty_is_refused_and_untouched(shot: Path, tmp_path: Path) -> None:
    (tmp_path / "out" / "background").mkdir(parents=True)

    assert "is not empty" in refusal(shot, tmp_path / "out")


def test_overwrite_replaces_layers(shot: Path, tmp_path: Path) -> None:
    (tmp_path / "out" / "foreground_4").mkdir(parents=True)

    assert finish_folder(shot, tmp_path / "out", "--overwrite").exit_code == 0
    held = sorted(path.name for path in (tmp_path / "out").iterdir())
    assert held == ["background", "foreground", "matte"]


def test_overwrite_never_replaces_anything_but_layers(shot: Path, tmp_path: Path) -> None:
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "thesis.txt").write_text("mine")

    message = refusal(shot, tmp_path / "out", "--overwrite")

    assert "thesis.txt" in message


@pytest.mark.parametrize("out", [".", ".."])
def test_an_out_that_holds_the_input_is_refused(shot: Path, out: str) -> None:
    assert "holds the input" in refusal(shot, shot / out, "--overwrite")


def test_an_out_that_is_a_file_is_refused(shot: Path, tmp_path: Path) -> None:
    (tmp_path / "out").write_text("a file")

    assert "is a file" in refusal(shot, tmp_path / "out")


def test_a_full_disk_is_one_sentence_and_leaves_nothing(
    shot: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full_disk(path: Path, *_: object) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(path))

    monkeypatch.setattr(media, "write_matte_png", full_disk)

    assert "No space left on device" in refusal(shot, tmp_path / "out")


def test_a_failed_overwrite_keeps_what_was_there(
    shot: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    finish_folder(shot, tmp_path / "out")

    def full_disk(path: Path, *_: object) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(path))

    monkeypatch.setattr(media, "write_exr", full_disk)

    refusal(shot, tmp_path / "out", "--overwrite")
    assert len(list((tmp_path / "out").rglob("*.exr"))) == 4


def test_a_folder_that_cannot_be_listed_is_one_sentence(
    shot: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    list_folder = Path.iterdir

    def forbidding(folder: Path) -> Iterator[Path]:
        if folder.name == "full":
            raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), str(folder))
        return list_folder(folder)

    with monkeypatch.context() as only_here:
        only_here.setattr(Path, "iterdir", forbidding)
        result = finish_folder(shot, tmp_path / "out")

    assert result.exit_code == 2
    assert "full cannot be listed (Permission denied)" in result.stderr


def test_layers_that_are_not_finite_are_one_sentence_and_leave_nothing(
    shot: Path, tmp_path: Path
) -> None:
    path = sorted((shot / "full").iterdir())[1]
    picture = np.full((*SIZE, 3), 0.5, np.float32)
    picture[3, 4] = np.nan
    path.unlink()
    media.write_exr(path.with_suffix(".exr"), picture)
    for other in (shot / "full").glob("*.png"):
        media.write_exr(other.with_suffix(".exr"), np.full((*SIZE, 3), 0.5, np.float32))
        other.unlink()

    said = refusal(shot, tmp_path / "out")

    assert f"{path.stem}.exr holds 1 pixels that are not numbers" in said


def test_a_rename_that_fails_brings_the_old_layers_back(
    shot: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    finish_folder(shot, tmp_path / "out")
    replace = Path.replace

    def failing(path: Path, target: Path) -> Path:
        if path.name.endswith(".draft"):
            raise OSError(errno.EIO, os.strerror(errno.EIO))
        return replace(path, target)

    monkeypatch.setattr(Path, "replace", failing)

    assert "Input/output error" in refusal(shot, tmp_path / "out", "--overwrite")


@pytest.mark.slow
def test_a_polite_kill_leaves_nothing_behind(shot: Path, tmp_path: Path) -> None:
    command = [sys.executable, "-c", "from layert2v_model.finishing.cli import main; main()"]
    process = subprocess.Popen(
        [*command, str(shot), "--out", str(tmp_path / "out")], stderr=subprocess.PIPE, text=True
    )
    assert process.stderr is not None
    process.stderr.readline()  # it has begun to read
    process.send_signal(signal.SIGTERM)
    process.communicate(timeout=HANG_S)

    assert process.returncode in (0, 128 + signal.SIGTERM)
    left = [path.name for path in tmp_path.iterdir()]
    assert left == ["shot"] if process.returncode else sorted(left) == ["out", "shot"]
