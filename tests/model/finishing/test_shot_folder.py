"""The layers of a shot are read from a folder, whatever form its files have."""

import json
import shutil
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from layert2v_media.footage import Footage, read, read_matte
from layert2v_model.files import media
from layert2v_model.stack import Layer, Stack
from support.finishing import SIZE, finish_folder, refusal
from support.layer_folders import write_images, write_stack
from support.layered_scenes import make_scene
from support.media_files import write_movie


def test_a_foreground_on_black_is_recognised(tmp_path: Path) -> None:
    scene = make_scene(1, 2, *SIZE)
    folder = write_stack(tmp_path / "shot", scene, premultiplied=True)

    report = json.loads(finish_folder(folder, tmp_path / "out").stdout)

    assert report["foreground_form"] == {"foreground": "premultiplied"}
    assert "fades to black" in report["foreground_form_reason"]["foreground"]
    assert report["recomposition_after"] > 50


def test_a_straight_foreground_with_black_around_it_is_recognised(tmp_path: Path) -> None:
    scene = make_scene(1, 2, *SIZE)
    disc = scene.layers[1]
    cut = Layer(disc.role, disc.rgb_TCHW * (disc.alpha_T1HW > 0), disc.alpha_T1HW)
    folder = write_stack(tmp_path / "shot", Stack((scene.layers[0], cut), scene.full_TCHW))

    report = json.loads(finish_folder(folder, tmp_path / "out").stdout)

    assert report["foreground_form"] == {"foreground": "straight"}


def test_the_form_can_be_said(shot: Path, tmp_path: Path) -> None:
    report = json.loads(
        finish_folder(shot, tmp_path / "out", "--foreground", "premultiplied").stdout
    )

    assert report["foreground_form"] == {"foreground": "premultiplied"}
    assert "asked for" in report["foreground_form_reason"]["foreground"]


def test_movies_are_read(shot: Path, tmp_path: Path) -> None:
    for name in ("full", "background", "foreground", "matte"):
        frames = read(Footage(shot / name))
        media.write_movie(tmp_path / "movies.tmp.mp4", frames, Fraction(8))
        (tmp_path / "movies").mkdir(exist_ok=True)
        (tmp_path / "movies.tmp.mp4").rename(tmp_path / "movies" / f"{name}.mp4")

    report = json.loads(finish_folder(tmp_path / "movies", tmp_path / "out").stdout)

    assert report["frames"] == 2
    assert report["recomposition_after"] > 45


@pytest.mark.parametrize("layer", ["full", "background", "foreground", "matte"])
def test_a_missing_layer_is_named(shot: Path, tmp_path: Path, layer: str) -> None:
    shutil.rmtree(shot / layer)

    assert f"{layer} is missing in" in refusal(shot, tmp_path / "out")


def test_a_gap_in_the_foregrounds_is_named(tmp_path: Path) -> None:
    folder = write_stack(tmp_path / "shot", make_scene(3, 1, *SIZE))
    shutil.rmtree(folder / "foreground_2")
    shutil.rmtree(folder / "matte_2")

    assert "foreground_2 is missing" in refusal(folder, tmp_path / "out")


def test_no_foreground_is_refused(shot: Path, tmp_path: Path) -> None:
    shutil.rmtree(shot / "foreground")
    shutil.rmtree(shot / "matte")

    assert "holds no foreground" in refusal(shot, tmp_path / "out")


def test_more_foregrounds_than_the_limit_are_refused(shot: Path, tmp_path: Path) -> None:
    for number in range(1, 8):
        shutil.copytree(shot / "foreground", shot / f"foreground_{number}")
    shutil.rmtree(shot / "foreground")
    shutil.rmtree(shot / "matte")

    assert "holds more than 6 foregrounds" in refusal(shot, tmp_path / "out")


def test_numbered_and_plain_foregrounds_together_are_refused(shot: Path, tmp_path: Path) -> None:
    shutil.copytree(shot / "foreground", shot / "foreground_1")

    assert "both foreground and foreground_1" in refusal(shot, tmp_path / "out")


def test_a_layer_that_is_there_twice_is_refused(shot: Path, tmp_path: Path) -> None:
    (shot / "full.mp4").write_bytes(b"movie")

    assert "holds full and full.mp4" in refusal(shot, tmp_path / "out")


def test_different_sizes_are_refused_with_both(shot: Path, tmp_path: Path) -> None:
    shutil.rmtree(shot / "background")
    write_images(shot / "background", np.zeros((2, 24, 36, 3), np.float32))

    assert "background is 36 x 24 but full is 72 x 48" in refusal(shot, tmp_path / "out")


def test_different_frame_counts_are_refused_with_both(shot: Path, tmp_path: Path) -> None:
    (shot / "matte" / "matte_0002.png").unlink()

    assert "matte has 1 frames but full has 2" in refusal(shot, tmp_path / "out")


def test_an_unreadable_movie_is_refused(shot: Path, tmp_path: Path) -> None:
    shutil.rmtree(shot / "full")
    (shot / "full.mp4").write_bytes(b"not a movie")

    assert "full.mp4 cannot be read as a movie" in refusal(shot, tmp_path / "out")


def test_an_empty_layer_folder_is_refused(shot: Path, tmp_path: Path) -> None:
    shutil.rmtree(shot / "full")
    (shot / "full").mkdir()

    assert "holds no images" in refusal(shot, tmp_path / "out")


def test_a_folder_that_is_not_there_is_refused(tmp_path: Path) -> None:
    assert "is not a folder" in refusal(tmp_path / "nowhere", tmp_path / "out")


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

    report = json.loads(finish_folder(folder, tmp_path / "out").stdout)

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

    report = json.loads(finish_folder(folder, tmp_path / "out").stdout)

    assert report["foreground_form"] == {"foreground": "straight"}
    assert report["recomposition_before"] > 45


def test_a_foreground_movie_multiplied_by_its_alpha_is_recognised(tmp_path: Path) -> None:
    folder = write_stack(tmp_path / "shot", make_scene(1, 2, *SIZE), premultiplied=True)
    rgba = np.concatenate([_codes(folder / "foreground"), _codes(folder / "matte")[..., :1]], -1)
    shutil.rmtree(folder / "matte")
    _as_movie(folder, "foreground.mov", rgba, codec="png", pix_fmt="rgba")

    report = json.loads(finish_folder(folder, tmp_path / "out").stdout)

    assert report["foreground_form"] == {"foreground": "premultiplied"}
    assert report["recomposition_after"] > 45


def test_an_opaque_foreground_needs_a_matte(tmp_path: Path) -> None:
    folder = write_stack(tmp_path / "shot", make_scene(1, 2, *SIZE))
    shutil.rmtree(folder / "matte")

    assert "since foreground has no alpha of its own" in refusal(folder, tmp_path / "out")


def test_a_foreground_whose_alpha_is_opaque_needs_a_matte(tmp_path: Path) -> None:
    folder = write_stack(tmp_path / "shot", make_scene(1, 2, *SIZE))
    shutil.rmtree(folder / "matte")
    for path in (folder / "foreground").iterdir():
        media.write_png(path, np.zeros((*SIZE, 3), np.float32), np.ones(SIZE, np.float32))

    assert "since foreground is opaque in every frame" in refusal(folder, tmp_path / "out")


def test_an_exr_foreground_stays_straight_whatever_is_asked(tmp_path: Path) -> None:
    folder = write_stack(tmp_path / "shot", make_scene(1, 2, *SIZE))
    colours, mattes = read(Footage(folder / "foreground")), read_matte(Footage(folder / "matte"))
    shutil.rmtree(folder / "foreground")
    (folder / "foreground").mkdir()
    for t, (rgb_HWC, alpha_HW) in enumerate(zip(colours, mattes, strict=True)):
        media.write_exr(folder / "foreground" / f"{t}.exr", rgb_HWC, alpha_HW)

    result = finish_folder(folder, tmp_path / "out", "--foreground", "premultiplied")

    report = json.loads(result.stdout)
    assert report["foreground_form"] == {"foreground": "straight"}
    assert report["recomposition_before"] > 45


def test_a_picture_without_a_number_among_numbered_ones_is_refused(
    shot: Path, tmp_path: Path
) -> None:
    shutil.copy(shot / "full" / "full_0001.png", shot / "full" / "preview.png")

    assert "preview.png has no number in its name" in refusal(shot, tmp_path / "out")


def test_junk_beside_layers_is_left_alone(shot: Path, tmp_path: Path) -> None:
    for place in (shot, shot / "full"):
        (place / "._full_0001.png").write_bytes(b"\0\5\x16\7")
        (place / "Thumbs.db").write_bytes(b"x")
        (place / "@eaDir").mkdir()

    assert finish_folder(shot, tmp_path / "out").exit_code == 0
