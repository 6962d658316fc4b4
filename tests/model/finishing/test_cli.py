import errno
import json
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from click.testing import Result
from typer.testing import CliRunner

from layert2v_media.footage import Footage, read, read_matte
from layert2v_model.files import media
from layert2v_model.finishing.cli import app
from layert2v_model.stack import Layer, Role, Stack
from support.layer_folders import write_images, write_stack
from support.layered_scenes import faded, make_scene
from support.media_files import write_movie
from support.waiting import HANG_S

SIZE = (48, 72)


@pytest.fixture
def shot(tmp_path: Path) -> Path:
    return write_stack(tmp_path / "shot", faded(make_scene(1, 2, *SIZE)))


def _finish(folder: Path, out: Path, *options: str) -> Result:
    return CliRunner().invoke(app, [str(folder), "--out", str(out), *options])


def _refusal(folder: Path, out: Path, *options: str) -> str:
    """The one sentence of a refused run, which must leave nothing behind."""
    before = sorted(out.parent.rglob("*"))
    result = _finish(folder, out, *options)
    assert result.exit_code == 2
    assert result.stdout == ""
    assert sorted(out.parent.rglob("*")) == before
    last = result.stderr.strip().splitlines()[-1]
    assert last.startswith("layert2v-finish: ")
    return last


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
    result = _finish(shot, tmp_path / "out")

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
    report = json.loads(_finish(shot, tmp_path / "out").stdout)

    assert (report["frames"], report["width"], report["height"]) == (2, 72, 48)
    assert report["foreground_form"] == {"foreground": "straight"}
    assert report["recomposition_before"] < 25
    assert report["recomposition_after"] > 45
    assert report["worst_frame"] in (0, 1)
    assert report["empty_mattes"] == []


def test_the_files_composite_to_what_the_report_says(tmp_path: Path) -> None:
    folder = write_stack(tmp_path / "shot", faded(make_scene(2, 2, *SIZE)))

    report = json.loads(_finish(folder, tmp_path / "out").stdout)

    full = read(Footage(folder / "full"))
    stack = _stack_from(tmp_path / "out", full, ["foreground_1", "foreground_2"])
    error = (stack.flatten() - stack.full_TCHW).square().mean().item()
    assert -10 * np.log10(error) == pytest.approx(report["recomposition_after"], abs=1)
    matte = read_matte(Footage(tmp_path / "out" / "matte_2"))
    assert np.abs(matte - stack.layers[2].alpha_T1HW[:, 0].numpy()).max() <= 1.01 / 255


def test_a_foreground_on_black_is_recognised(tmp_path: Path) -> None:
    scene = make_scene(1, 2, *SIZE)
    folder = write_stack(tmp_path / "shot", scene, premultiplied=True)

    report = json.loads(_finish(folder, tmp_path / "out").stdout)

    assert report["foreground_form"] == {"foreground": "premultiplied"}
    assert "fades to black" in report["foreground_form_reason"]["foreground"]
    assert report["recomposition_after"] > 50


def test_a_straight_foreground_with_black_around_it_is_recognised(tmp_path: Path) -> None:
    scene = make_scene(1, 2, *SIZE)
    disc = scene.layers[1]
    cut = Layer(disc.role, disc.rgb_TCHW * (disc.alpha_T1HW > 0), disc.alpha_T1HW)
    folder = write_stack(tmp_path / "shot", Stack((scene.layers[0], cut), scene.full_TCHW))

    report = json.loads(_finish(folder, tmp_path / "out").stdout)

    assert report["foreground_form"] == {"foreground": "straight"}


def test_the_form_can_be_said(shot: Path, tmp_path: Path) -> None:
    report = json.loads(_finish(shot, tmp_path / "out", "--foreground", "premultiplied").stdout)

    assert report["foreground_form"] == {"foreground": "premultiplied"}
    assert "asked for" in report["foreground_form_reason"]["foreground"]


def test_finished_layers_can_be_finished_again(shot: Path, tmp_path: Path) -> None:
    _finish(shot, tmp_path / "out")
    shutil.copytree(shot / "full", tmp_path / "again" / "full")
    for name in ("background", "foreground", "matte"):
        shutil.copytree(tmp_path / "out" / name, tmp_path / "again" / name)

    report = json.loads(_finish(tmp_path / "again", tmp_path / "out2").stdout)

    assert report["foreground_form_reason"] == {
        "foreground": "its files have an alpha of their own"
    }
    assert report["recomposition_before"] > 45
    assert report["matte_change"] < 0.01


def test_movies_are_read(shot: Path, tmp_path: Path) -> None:
    for name in ("full", "background", "foreground", "matte"):
        frames = read(Footage(shot / name))
        media.write_movie(tmp_path / "movies.tmp.mp4", frames, Fraction(8))
        (tmp_path / "movies").mkdir(exist_ok=True)
        (tmp_path / "movies.tmp.mp4").rename(tmp_path / "movies" / f"{name}.mp4")

    report = json.loads(_finish(tmp_path / "movies", tmp_path / "out").stdout)

    assert report["frames"] == 2
    assert report["recomposition_after"] > 45


@pytest.mark.parametrize("layer", ["full", "background", "foreground", "matte"])
def test_a_missing_layer_is_named(shot: Path, tmp_path: Path, layer: str) -> None:
    shutil.rmtree(shot / layer)

    assert f"{layer} is missing in" in _refusal(shot, tmp_path / "out")


def test_a_gap_in_the_foregrounds_is_named(tmp_path: Path) -> None:
    folder = write_stack(tmp_path / "shot", make_scene(3, 1, *SIZE))
    shutil.rmtree(folder / "foreground_2")
    shutil.rmtree(folder / "matte_2")

    assert "foreground_2 is missing" in _refusal(folder, tmp_path / "out")


def test_no_foreground_is_refused(shot: Path, tmp_path: Path) -> None:
    shutil.rmtree(shot / "foreground")
    shutil.rmtree(shot / "matte")

    assert "holds no foreground" in _refusal(shot, tmp_path / "out")


def test_more_foregrounds_than_the_limit_are_refused(shot: Path, tmp_path: Path) -> None:
    for number in range(1, 8):
        shutil.copytree(shot / "foreground", shot / f"foreground_{number}")
    shutil.rmtree(shot / "foreground")
    shutil.rmtree(shot / "matte")

    assert "holds more than 6 foregrounds" in _refusal(shot, tmp_path / "out")


def test_numbered_and_plain_foregrounds_together_are_refused(shot: Path, tmp_path: Path) -> None:
    shutil.copytree(shot / "foreground", shot / "foreground_1")

    assert "both foreground and foreground_1" in _refusal(shot, tmp_path / "out")


def test_a_layer_that_is_there_twice_is_refused(shot: Path, tmp_path: Path) -> None:
    (shot / "full.mp4").write_bytes(b"movie")

    assert "holds full and full.mp4" in _refusal(shot, tmp_path / "out")


def test_different_sizes_are_refused_with_both(shot: Path, tmp_path: Path) -> None:
    shutil.rmtree(shot / "background")
    write_images(shot / "background", np.zeros((2, 24, 36, 3), np.float32))

    assert "background is 36 x 24 but full is 72 x 48" in _refusal(shot, tmp_path / "out")


def test_different_frame_counts_are_refused_with_both(shot: Path, tmp_path: Path) -> None:
    (shot / "matte" / "matte_0002.png").unlink()

    assert "matte has 1 frames but full has 2" in _refusal(shot, tmp_path / "out")


def test_an_unreadable_movie_is_refused(shot: Path, tmp_path: Path) -> None:
    shutil.rmtree(shot / "full")
    (shot / "full.mp4").write_bytes(b"not a movie")

    assert "full.mp4 cannot be read as a movie" in _refusal(shot, tmp_path / "out")


def test_an_empty_layer_folder_is_refused(shot: Path, tmp_path: Path) -> None:
    shutil.rmtree(shot / "full")
    (shot / "full").mkdir()

    assert "holds no images" in _refusal(shot, tmp_path / "out")


def test_a_folder_that_is_not_there_is_refused(tmp_path: Path) -> None:
    assert "is not a folder" in _refusal(tmp_path / "nowhere", tmp_path / "out")


def test_an_out_that_is_not_empty_is_refused_and_untouched(shot: Path, tmp_path: Path) -> None:
    (tmp_path / "out" / "background").mkdir(parents=True)

    assert "is not empty" in _refusal(shot, tmp_path / "out")


def test_overwrite_replaces_layers(shot: Path, tmp_path: Path) -> None:
    (tmp_path / "out" / "foreground_4").mkdir(parents=True)

    assert _finish(shot, tmp_path / "out", "--overwrite").exit_code == 0
    held = sorted(path.name for path in (tmp_path / "out").iterdir())
    assert held == ["background", "foreground", "matte"]


def test_overwrite_never_replaces_anything_but_layers(shot: Path, tmp_path: Path) -> None:
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "thesis.txt").write_text("mine")

    message = _refusal(shot, tmp_path / "out", "--overwrite")

    assert "thesis.txt" in message


@pytest.mark.parametrize("out", [".", ".."])
def test_an_out_that_holds_the_input_is_refused(shot: Path, out: str) -> None:
    assert "holds the input" in _refusal(shot, shot / out, "--overwrite")


def test_an_out_that_is_a_file_is_refused(shot: Path, tmp_path: Path) -> None:
    (tmp_path / "out").write_text("a file")

    assert "is a file" in _refusal(shot, tmp_path / "out")


def test_a_full_disk_is_one_sentence_and_leaves_nothing(
    shot: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full_disk(path: Path, *_: object) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(path))

    monkeypatch.setattr(media, "write_matte_png", full_disk)

    assert "No space left on device" in _refusal(shot, tmp_path / "out")


def test_a_failed_overwrite_keeps_what_was_there(
    shot: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    _finish(shot, tmp_path / "out")

    def full_disk(path: Path, *_: object) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(path))

    monkeypatch.setattr(media, "write_exr", full_disk)

    _refusal(shot, tmp_path / "out", "--overwrite")
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
        result = _finish(shot, tmp_path / "out")

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

    refusal = _refusal(shot, tmp_path / "out")

    assert f"{path.stem}.exr holds 1 pixels that are not numbers" in refusal


def test_a_rename_that_fails_brings_the_old_layers_back(
    shot: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    _finish(shot, tmp_path / "out")
    replace = Path.replace

    def failing(path: Path, target: Path) -> Path:
        if path.name.endswith(".draft"):
            raise OSError(errno.EIO, os.strerror(errno.EIO))
        return replace(path, target)

    monkeypatch.setattr(Path, "replace", failing)

    assert "Input/output error" in _refusal(shot, tmp_path / "out", "--overwrite")


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


def _codes(folder: Path) -> np.ndarray:
    """The frames of a layer, 8 bits."""
    return media.to_8_bit(read(Footage(folder)))


def _as_movie(folder: Path, name: str, frames: np.ndarray, **options: Any) -> None:
    """Put a movie in the place of a layer's pictures."""
    shutil.rmtree(folder / Path(name).stem.lower())
    write_movie(folder / "movie.tmp.mov", frames, **options).rename(folder / name)


@pytest.mark.parametrize("quarters", [1, 2, 3])
def test_a_turned_movie_is_read_upright(tmp_path: Path, quarters: int) -> None:
    folder = write_stack(tmp_path / "shot", make_scene(1, 2, *SIZE))
    a, b = {1: (0, 1), 2: (-1, 0), 3: (0, -1)}[quarters]
    one = 1 << 16
    matrix = (a * one, b * one, 0, -b * one, a * one, 0, 0, 0, 1 << 30)
    stored = np.rot90(_codes(folder / "full"), quarters, (1, 2))
    _as_movie(folder, "full.MOV", stored, matrix=matrix)

    report = json.loads(_finish(folder, tmp_path / "out").stdout)

    assert (report["width"], report["height"]) == (SIZE[1], SIZE[0])
    assert report["recomposition_before"] > 45


@pytest.mark.parametrize("is_movie", [False, True])
def test_a_foreground_with_alpha_needs_no_matte(tmp_path: Path, is_movie: bool) -> None:
    folder = write_stack(tmp_path / "shot", make_scene(1, 2, *SIZE))
    rgba = np.concatenate([_codes(folder / "foreground"), _codes(folder / "matte")[..., :1]], -1)
    shutil.rmtree(folder / "matte")
    if is_movie:
        _as_movie(folder, "foreground.mov", rgba, codec="png", pix_fmt="rgba")
    else:
        for path, frame in zip(sorted((folder / "foreground").iterdir()), rgba, strict=True):
            colours = frame.astype(np.float32) / 255
            media.write_png(path, colours[..., :3], colours[..., 3])

    report = json.loads(_finish(folder, tmp_path / "out").stdout)

    assert report["foreground_form"] == {"foreground": "straight"}
    assert report["recomposition_before"] > 45


def test_a_foreground_movie_multiplied_by_its_alpha_is_recognised(tmp_path: Path) -> None:
    folder = write_stack(tmp_path / "shot", make_scene(1, 2, *SIZE), premultiplied=True)
    rgba = np.concatenate([_codes(folder / "foreground"), _codes(folder / "matte")[..., :1]], -1)
    shutil.rmtree(folder / "matte")
    _as_movie(folder, "foreground.mov", rgba, codec="png", pix_fmt="rgba")

    report = json.loads(_finish(folder, tmp_path / "out").stdout)

    assert report["foreground_form"] == {"foreground": "premultiplied"}
    assert report["recomposition_after"] > 45


def test_an_opaque_foreground_needs_a_matte(tmp_path: Path) -> None:
    folder = write_stack(tmp_path / "shot", make_scene(1, 2, *SIZE))
    shutil.rmtree(folder / "matte")

    assert "since foreground has no alpha of its own" in _refusal(folder, tmp_path / "out")


def test_a_foreground_whose_alpha_is_opaque_needs_a_matte(tmp_path: Path) -> None:
    folder = write_stack(tmp_path / "shot", make_scene(1, 2, *SIZE))
    shutil.rmtree(folder / "matte")
    for path in (folder / "foreground").iterdir():
        media.write_png(path, np.zeros((*SIZE, 3), np.float32), np.ones(SIZE, np.float32))

    assert "since foreground is opaque in every frame" in _refusal(folder, tmp_path / "out")


def test_an_exr_foreground_stays_straight_whatever_is_asked(tmp_path: Path) -> None:
    folder = write_stack(tmp_path / "shot", make_scene(1, 2, *SIZE))
    colours, mattes = read(Footage(folder / "foreground")), read_matte(Footage(folder / "matte"))
    shutil.rmtree(folder / "foreground")
    (folder / "foreground").mkdir()
    for t, (rgb_HWC, alpha_HW) in enumerate(zip(colours, mattes, strict=True)):
        media.write_exr(folder / "foreground" / f"{t}.exr", rgb_HWC, alpha_HW)

    result = _finish(folder, tmp_path / "out", "--foreground", "premultiplied")

    report = json.loads(result.stdout)
    assert report["foreground_form"] == {"foreground": "straight"}
    assert report["recomposition_before"] > 45


def test_a_picture_without_a_number_among_numbered_ones_is_refused(
    shot: Path, tmp_path: Path
) -> None:
    shutil.copy(shot / "full" / "full_0001.png", shot / "full" / "preview.png")

    assert "preview.png has no number in its name" in _refusal(shot, tmp_path / "out")


def test_junk_beside_layers_is_left_alone(shot: Path, tmp_path: Path) -> None:
    for place in (shot, shot / "full"):
        (place / "._full_0001.png").write_bytes(b"\0\5\x16\7")
        (place / "Thumbs.db").write_bytes(b"x")
        (place / "@eaDir").mkdir()

    assert _finish(shot, tmp_path / "out").exit_code == 0
