import errno
import os
from fractions import Fraction
from pathlib import Path

import av
import cv2
import numpy as np
import OpenEXR
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from layert2v_model import media


def _picture(height: int = 12, width: int = 20) -> tuple[media.Pixels, media.Pixels]:
    generator = np.random.default_rng(0)
    rgb_HWC = generator.random((height, width, 3), dtype=np.float32)
    alpha_HW = generator.random((height, width), dtype=np.float32).round(1)
    return rgb_HWC, alpha_HW


def _half_exr(path: Path, channels: dict[str, np.ndarray], **header: object) -> None:
    halves = {name: plane.astype(np.float16) for name, plane in channels.items()}
    with OpenEXR.File({"type": OpenEXR.scanlineimage, **header}, halves) as file:
        file.write(str(path))


@given(arrays(np.float32, (3, 4, 3), elements=st.floats(-2, 4, width=32)))
def test_linear_undoes_srgb(srgb: media.Pixels) -> None:
    back = media.linear_to_srgb(media.srgb_to_linear(srgb))

    assert np.abs(back - srgb).max() < 1e-5


def test_an_exr_comes_back_within_half_a_thousandth(tmp_path: Path) -> None:
    rgb_HWC, alpha_HW = _picture()

    media.write_exr(tmp_path / "a.exr", rgb_HWC, alpha_HW)
    rgb_back, alpha_back = media.read_exr(tmp_path / "a.exr")

    assert alpha_back is not None
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

    assert media.read_exr(tmp_path / "a.exr")[1] is None


@pytest.mark.parametrize("share", [0.01, 0.5, 0.99])
def test_a_truncated_exr_is_unreadable(tmp_path: Path, share: float) -> None:
    media.write_exr(tmp_path / "a.exr", *_picture(64, 64))
    content = (tmp_path / "a.exr").read_bytes()
    (tmp_path / "a.exr").write_bytes(content[: int(len(content) * share)])

    with pytest.raises(media.UnreadableMedia, match=r"a\.exr"):
        media.read_exr(tmp_path / "a.exr")


def test_an_exr_of_another_kind_is_unreadable(tmp_path: Path) -> None:
    _half_exr(tmp_path / "a.exr", {"Z": np.ones((2, 2))})

    with pytest.raises(media.UnreadableMedia, match="holds the channels Z"):
        media.read_exr(tmp_path / "a.exr")


def test_an_exr_larger_than_the_limit_is_refused_by_its_header(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    media.write_exr(tmp_path / "a.exr", *_picture())
    monkeypatch.setattr(media, "MAX_PIXELS", 100)

    with pytest.raises(media.UnreadableMedia, match="20 x 12, the limit is 100 pixels"):
        media.read_exr(tmp_path / "a.exr")


def test_a_cropped_exr_is_placed_in_its_display_window(tmp_path: Path) -> None:
    display = ((0, 0), (5, 3))
    window = {
        "displayWindow": tuple(np.array(corner, np.int32) for corner in display),
        "dataWindow": (np.array((2, 1), np.int32), np.array((3, 2), np.int32)),
    }
    _half_exr(tmp_path / "a.exr", {"Y": np.ones((2, 2))}, **window)

    rgb_HWC, _ = media.read_exr(tmp_path / "a.exr")

    assert rgb_HWC.shape == (4, 6, 3)
    assert np.allclose(rgb_HWC[1:3, 2:4], 1, atol=1e-6)
    assert rgb_HWC.sum() == pytest.approx(12, abs=1e-4)


def test_not_a_number_is_refused_by_file_and_channel(tmp_path: Path) -> None:
    _half_exr(tmp_path / "a.exr", {"Y": np.array([[1, np.nan], [np.nan, 0]])})

    with pytest.raises(media.UnreadableMedia, match=r"a\.exr holds 2 pixels .*NaN.* channel Y"):
        media.read_exr(tmp_path / "a.exr")


def test_infinity_reads_as_the_brightest_half(tmp_path: Path) -> None:
    _half_exr(tmp_path / "a.exr", {"Y": np.full((2, 2), np.inf)})

    brightest = media.linear_to_srgb(np.full((1, 1), np.finfo(np.float16).max, np.float32))
    assert (media.read_exr(tmp_path / "a.exr")[0] == brightest).all()


def test_a_png_comes_back_within_half_a_code_value(tmp_path: Path) -> None:
    rgb_HWC, alpha_HW = _picture()

    media.write_png(tmp_path / "a.png", rgb_HWC, alpha_HW)
    rgb_back, alpha_back = media.read_png(tmp_path / "a.png")

    assert alpha_back is not None
    assert np.abs(rgb_back - rgb_HWC).max() <= 0.5001 / 255
    assert np.abs(alpha_back - alpha_HW).max() <= 0.5001 / 255


def test_a_matte_is_one_grey_channel(tmp_path: Path) -> None:
    _, alpha_HW = _picture()

    media.write_matte_png(tmp_path / "a.png", alpha_HW)

    codes = cv2.imread(str(tmp_path / "a.png"), cv2.IMREAD_UNCHANGED)
    assert codes.ndim == 2
    assert (codes == media.to_8_bit(alpha_HW)).all()
    assert media.read_png(tmp_path / "a.png")[0].shape == (12, 20, 3)


def test_a_16_bit_png_keeps_its_precision(tmp_path: Path) -> None:
    cv2.imwrite(str(tmp_path / "a.png"), np.full((2, 2, 3), 1234, np.uint16))

    assert np.allclose(media.read_png(tmp_path / "a.png")[0], 1234 / 65535)


@pytest.mark.parametrize("suffix", [".png", ".jpg"])
def test_a_picture_cut_short_is_unreadable(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"a{suffix}"
    cv2.imwrite(str(path), media.to_8_bit(_picture(64, 64)[0]))
    path.write_bytes(path.read_bytes()[:-500])

    with pytest.raises(media.UnreadableMedia, match="cut short"):
        media.read_png(path)


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


def test_frames_of_a_folder_follow_their_numbers(tmp_path: Path) -> None:
    for number in (9, 10, 11):
        media.write_png(tmp_path / f"f_{number}.png", np.full((2, 2, 3), number / 255, np.float32))
    (tmp_path / "notes.txt").write_text("not a frame")

    frames_THWC = media.read_frames(tmp_path)

    assert frames_THWC.shape == (3, 2, 2, 3)
    assert (frames_THWC[:, 0, 0, 0] * 255).round().tolist() == [9, 10, 11]


def test_rgba_frames_have_four_channels(tmp_path: Path) -> None:
    rgb_HWC, alpha_HW = _picture()
    media.write_exr(tmp_path / "a_0001.exr", rgb_HWC, alpha_HW)

    assert media.read_frames(tmp_path).shape == (1, 12, 20, 4)


def test_a_missing_frame_is_named(tmp_path: Path) -> None:
    for number in (1, 2, 4):
        media.write_png(tmp_path / f"f_{number:04d}.png", _picture()[0])

    with pytest.raises(media.UnreadableMedia, match="frame 3 is missing"):
        media.read_frames(tmp_path)


def test_frames_of_different_sizes_are_refused_with_both_sizes(tmp_path: Path) -> None:
    media.write_png(tmp_path / "f_1.png", _picture(4, 6)[0])
    media.write_png(tmp_path / "f_2.png", _picture(4, 8)[0])

    with pytest.raises(media.UnreadableMedia, match=r"8 x 4, 3 channels but f_1\.png is 6 x 4"):
        media.read_frames(tmp_path)


def test_frames_of_two_kinds_are_refused(tmp_path: Path) -> None:
    media.write_png(tmp_path / "f_1.png", _picture()[0])
    media.write_exr(tmp_path / "f_2.exr", _picture()[0])

    with pytest.raises(media.UnreadableMedia, match=r"\.exr and \.png"):
        media.read_frames(tmp_path)


def test_an_empty_folder_is_unreadable(tmp_path: Path) -> None:
    with pytest.raises(media.UnreadableMedia, match="no images"):
        media.read_frames(tmp_path)


def test_a_movie_comes_back_nearly_as_written(tmp_path: Path) -> None:
    ramp = np.linspace(0.2, 0.8, 32, dtype=np.float32)
    frames_THWC = np.broadcast_to(ramp[None, None, :, None], (3, 16, 32, 3))

    media.write_movie(tmp_path / "a.mp4", frames_THWC, Fraction(8))
    back = media.read_frames(tmp_path / "a.mp4")

    assert back.shape == (3, 16, 32, 3)
    assert np.abs(back - frames_THWC).max() < 0.05


def test_a_movie_of_odd_size_is_written(tmp_path: Path) -> None:
    media.write_movie(tmp_path / "a.mp4", np.zeros((2, 15, 33, 3), np.float32), Fraction(25))

    assert media.read_frames(tmp_path / "a.mp4").shape == (2, 15, 33, 3)


@pytest.mark.parametrize("content", [b"", b"not a movie at all"])
def test_a_file_that_is_no_movie_is_unreadable(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "a.mp4").write_bytes(content)

    with pytest.raises(media.UnreadableMedia, match=r"a\.mp4 cannot be read as a movie"):
        media.read_frames(tmp_path / "a.mp4")


def test_a_movie_cut_short_is_unreadable(tmp_path: Path) -> None:
    noise_THWC = np.random.default_rng(0).random((6, 64, 64, 3), dtype=np.float32)
    media.write_movie(tmp_path / "a.mp4", noise_THWC, Fraction(8))
    content = (tmp_path / "a.mp4").read_bytes()
    (tmp_path / "a.mp4").write_bytes(content[: len(content) // 2])

    with pytest.raises(media.UnreadableMedia, match=r"a\.mp4"):
        media.read_frames(tmp_path / "a.mp4")


def test_a_matte_in_exr_is_data_not_colour(tmp_path: Path) -> None:
    _half_exr(tmp_path / "m_1.exr", {"Y": np.full((2, 2), 0.25)})

    assert np.allclose(media.read_matte(tmp_path), 0.25)


def test_a_matte_is_taken_from_alpha_where_there_is_one(tmp_path: Path) -> None:
    rgb_HWC, alpha_HW = _picture()
    media.write_png(tmp_path / "m_1.png", rgb_HWC, alpha_HW)

    assert np.abs(media.read_matte(tmp_path)[0] - alpha_HW).max() <= 0.5001 / 255


def test_a_matte_is_taken_from_an_exr_alpha(tmp_path: Path) -> None:
    rgb_HWC, alpha_HW = _picture()
    media.write_exr(tmp_path / "m_1.exr", rgb_HWC, alpha_HW)

    assert np.abs(media.read_matte(tmp_path)[0] - alpha_HW).max() < 5e-4


def test_a_missing_picture_is_unreadable(tmp_path: Path) -> None:
    with pytest.raises(media.UnreadableMedia, match="No such file"):
        media.read_png(tmp_path / "missing.png")


def test_an_empty_picture_is_unreadable(tmp_path: Path) -> None:
    (tmp_path / "a.png").write_bytes(b"")

    with pytest.raises(media.UnreadableMedia, match="not a picture"):
        media.read_png(tmp_path / "a.png")


def test_frames_without_numbers_follow_their_names(tmp_path: Path) -> None:
    for name, value in (("b", 1.0), ("a", 0.0)):
        media.write_png(tmp_path / f"{name}.png", np.full((2, 2, 3), value, np.float32))

    assert media.read_frames(tmp_path)[:, 0, 0, 0].tolist() == [0, 1]


def test_a_frame_number_that_stands_twice_is_refused(tmp_path: Path) -> None:
    for name in ("f_1", "f_01"):
        media.write_png(tmp_path / f"{name}.png", _picture()[0])

    with pytest.raises(media.UnreadableMedia, match="a frame is twice"):
        media.read_frames(tmp_path)


def test_sound_alone_is_no_movie(tmp_path: Path) -> None:
    with av.open(str(tmp_path / "a.mkv"), "w") as container:
        stream = container.add_stream("pcm_s16le", rate=8000, layout="mono")
        frame = av.AudioFrame.from_ndarray(np.zeros((1, 800), np.int16), layout="mono")
        frame.sample_rate = 8000
        container.mux(stream.encode(frame))
        container.mux(stream.encode(None))

    with pytest.raises(media.UnreadableMedia, match="no video stream"):
        media.read_frames(tmp_path / "a.mkv")


@pytest.mark.parametrize("share", [0.7, 0.95])
def test_a_movie_that_lacks_frames_is_unreadable(tmp_path: Path, share: float) -> None:
    noise_THWC = np.random.default_rng(0).random((9, 64, 64, 3), dtype=np.float32)
    media.write_movie(tmp_path / "a.mp4", noise_THWC, Fraction(8))
    content = (tmp_path / "a.mp4").read_bytes()
    (tmp_path / "a.mp4").write_bytes(content[: int(len(content) * share)])

    with pytest.raises(media.UnreadableMedia, match=r"a\.mp4"):
        media.read_frames(tmp_path / "a.mp4")


def test_alpha_of_a_movie_is_read(tmp_path: Path) -> None:
    codes = np.zeros((8, 8, 4), np.uint8)
    codes[..., 3] = 64
    with av.open(str(tmp_path / "a.mkv"), "w") as container:
        stream = container.add_stream("ffv1", rate=8)
        stream.width, stream.height, stream.pix_fmt = 8, 8, "bgra"
        container.mux(stream.encode(av.VideoFrame.from_ndarray(codes, format="rgba")))
        container.mux(stream.encode(None))

    assert np.allclose(media.read_matte(tmp_path / "a.mkv"), 64 / 255)
