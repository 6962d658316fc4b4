from pathlib import Path

import numpy as np
import pytest

from layert2v_training.data.clip_footage import Footage, read_matte
from layert2v_training.data.problems import BadClip
from support import toy_clips

INDICES = range(toy_clips.FRAMES)


def _opaque(matte: toy_clips.Codes) -> toy_clips.Codes:
    """Give a grey matte (T, H, W, 4) with the alpha that Blender writes unless told otherwise."""
    return np.stack([matte] * 3 + [np.full_like(matte, 255)], -1)


def test_an_exr_matte_with_opaque_alpha_is_its_colour(tmp_path: Path) -> None:
    matte = toy_clips.square_matte()
    toy_clips.write_exrs(tmp_path / "matte", _opaque(matte).astype(np.float32) / 255)

    read = read_matte(Footage(tmp_path / "matte"), INDICES)

    np.testing.assert_allclose(read, matte / 255)


def test_an_exr_matte_with_alpha_that_varies_is_its_alpha(tmp_path: Path) -> None:
    matte = toy_clips.square_matte()[..., None].astype(np.float32) / 255
    colours = np.full((*matte.shape[:3], 3), 7, np.float32)
    toy_clips.write_exrs(tmp_path / "matte", np.concatenate([colours, matte], -1))

    read = read_matte(Footage(tmp_path / "matte"), INDICES)

    np.testing.assert_allclose(read, matte[..., 0])


@pytest.mark.parametrize("letters", ["YZ", "RGBZ"])
def test_an_exr_matte_is_its_colours_and_not_its_depth(tmp_path: Path, letters: str) -> None:
    matte = toy_clips.square_matte().astype(np.float32) / 255
    planes = [matte if letter != "Z" else matte + 5 for letter in letters]
    toy_clips.write_exrs(tmp_path / "matte", np.stack(planes, -1), letters)

    read = read_matte(Footage(tmp_path / "matte"), INDICES)

    np.testing.assert_allclose(read, matte)


def test_a_layer_whose_alpha_varies_in_one_frame_has_its_matte_there_in_all(
    tmp_path: Path,
) -> None:
    rgba = np.full((4, 24, 32, 4), 255, np.uint8)
    rgba[..., :3] = 10
    rgba[3, :, :16, 3] = 0
    toy_clips.write_pngs(tmp_path / "pictures", rgba)
    toy_clips.write_movie(tmp_path / "movie.mkv", rgba, "ffv1")

    for path in (tmp_path / "pictures", tmp_path / "movie.mkv"):
        assert (read_matte(Footage(path), [0, 1]) == 1).all()
        assert read_matte(Footage(path), [3])[0, 0, 0] == 0


def test_coded_mattes_with_opaque_alpha_are_their_colour(tmp_path: Path) -> None:
    matte = toy_clips.square_matte()
    toy_clips.write_pngs(tmp_path / "pictures", _opaque(matte))
    toy_clips.write_movie(tmp_path / "movie.mkv", _opaque(matte), "ffv1")

    for path in (tmp_path / "pictures", tmp_path / "movie.mkv"):
        np.testing.assert_allclose(read_matte(Footage(path), [1, 4]), matte[[1, 4]] / 255)


def test_matte_pictures_with_and_without_alpha_in_one_layer_are_refused(tmp_path: Path) -> None:
    folder = toy_clips.write_pngs(tmp_path / "matte", _opaque(toy_clips.square_matte()))
    toy_clips.write_pngs(tmp_path / "other", toy_clips.flat((9, 9, 9)))
    (tmp_path / "other" / "frame_0004.png").replace(folder / "frame_0004.png")

    with pytest.raises(
        BadClip, match=r"frame_0004\.png: is 32 x 24, 1 channels but frame_0001\.png is 32 x 24, 2"
    ):
        read_matte(Footage(folder), INDICES)
