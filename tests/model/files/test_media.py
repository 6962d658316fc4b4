import errno
import os
from fractions import Fraction
from pathlib import Path

import cv2
import numpy as np
import OpenEXR
import pytest

from layert2v_media.footage import Footage, read, read_picture
from layert2v_model.files import media


def _picture(height: int = 12, width: int = 20) -> tuple[media.Pixels, media.Pixels]:
    generator = np.random.default_rng(0)
    rgb_HWC = generator.random((height, width, 3), dtype=np.float32)
    alpha_HW = generator.random((height, width), dtype=np.float32).round(1)
    return rgb_HWC, alpha_HW


def test_an_exr_comes_back_within_half_a_thousandth(tmp_path: Path) -> None:
    rgb_HWC, alpha_HW = _picture()

    media.write_exr(tmp_path / "a.exr", rgb_HWC, alpha_HW)
    back = read_picture(tmp_path / "a.exr")
    rgb_back, alpha_back = back[..., :3], back[..., 3]

    assert np.abs(alpha_back - alpha_HW).max() < 5e-4
    assert np.abs(rgb_back - rgb_HWC)[alpha_HW > 0].max() < 5e-4
    assert (rgb_back[alpha_HW == 0] == 0).all()


def test_an_exr_holds_premultiplied_linear_half(tmp_path: Path) -> None:
    rgb_HWC = np.full((2, 3, 3), 0.5, np.float32)

    media.write_exr(tmp_path / "a.exr", rgb_HWC, np.full((2, 3), 0.5, np.float32))

    with OpenEXR.File(str(tmp_path / "a.exr")) as file:
        pixels = file.channels()["RGBA"].pixels
    assert pixels.dtype == np.float16
    assert np.allclose(pixels[0, 0], [0.10702, 0.10702, 0.10702, 0.5], atol=1e-4)


def test_an_opaque_exr_has_no_alpha(tmp_path: Path) -> None:
    rgb_HWC, _ = _picture()

    media.write_exr(tmp_path / "a.exr", rgb_HWC)

    assert read_picture(tmp_path / "a.exr").shape == (12, 20, 3)


def test_a_png_comes_back_within_half_a_code_value(tmp_path: Path) -> None:
    rgb_HWC, alpha_HW = _picture()

    media.write_png(tmp_path / "a.png", rgb_HWC, alpha_HW)
    back = read_picture(tmp_path / "a.png")
    rgb_back, alpha_back = back[..., :3], back[..., 3]

    assert np.abs(rgb_back - rgb_HWC).max() <= 0.5001 / 255
    assert np.abs(alpha_back - alpha_HW).max() <= 0.5001 / 255


def test_a_matte_is_one_grey_channel(tmp_path: Path) -> None:
    _, alpha_HW = _picture()

    media.write_matte_png(tmp_path / "a.png", alpha_HW)

    codes = cv2.imread(str(tmp_path / "a.png"), cv2.IMREAD_UNCHANGED)
    assert codes.ndim == 2
    assert (codes == media.to_8_bit(alpha_HW)).all()
    assert read_picture(tmp_path / "a.png").shape == (12, 20, 3)


def test_a_failed_write_leaves_the_old_file_and_nothing_else(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    rgb_HWC, _ = _picture()
    media.write_png(tmp_path / "a.png", rgb_HWC)
    before = (tmp_path / "a.png").read_bytes()

    def full_disk(*_: object) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "replace", full_disk)
    with pytest.raises(OSError, match="No space left"):
        media.write_png(tmp_path / "a.png", 1 - rgb_HWC)

    assert [path.name for path in tmp_path.iterdir()] == ["a.png"]
    assert (tmp_path / "a.png").read_bytes() == before


def test_an_exr_that_cannot_be_written_is_the_systems_error(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        media.write_exr(tmp_path / "missing" / "a.exr", _picture()[0])


def test_a_movie_comes_back_nearly_as_written(tmp_path: Path) -> None:
    ramp = np.linspace(0.2, 0.8, 32, dtype=np.float32)
    frames_THWC = np.broadcast_to(ramp[None, None, :, None], (3, 16, 32, 3))

    media.write_movie(tmp_path / "a.mp4", frames_THWC, Fraction(8))
    back = read(Footage(tmp_path / "a.mp4"))

    assert back.shape == (3, 16, 32, 3)
    assert np.abs(back - frames_THWC).max() < 0.05


def test_a_movie_of_odd_size_is_written(tmp_path: Path) -> None:
    media.write_movie(tmp_path / "a.mp4", np.zeros((2, 15, 33, 3), np.float32), Fraction(25))

    assert read(Footage(tmp_path / "a.mp4")).shape == (2, 15, 33, 3)
