import struct
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest

from layert2v_media.errors import UnreadableMedia
from layert2v_media.footage import Footage, probe, read, read_matte
from layert2v_media.transfer import SDR_WHITE_NITS, srgb_to_linear
from support.media_files import largest_error, scene, write_movie

ONE = 1 << 16
TURNS: dict[str, tuple[tuple[int, int, int, int], Any]] = {
    "upright": ((1, 0, 0, 1), lambda f: f),
    "clockwise": ((0, 1, -1, 0), lambda f: np.rot90(f, -1, (1, 2))),
    "upside down": ((-1, 0, 0, -1), lambda f: np.rot90(f, 2, (1, 2))),
    "against the clock": ((0, -1, 1, 0), lambda f: np.rot90(f, 1, (1, 2))),
    "mirrored": ((-1, 0, 0, 1), lambda f: f[:, :, ::-1]),
    "flipped": ((1, 0, 0, -1), lambda f: f[:, ::-1]),
    "transposed": ((0, 1, 1, 0), lambda f: f.transpose(0, 2, 1, 3)),
    "transversed": ((0, -1, -1, 0), lambda f: np.rot90(f, 2, (1, 2)).transpose(0, 2, 1, 3)),
}
"""a, b, c, d of a display matrix, and what a player shows."""


def _rgba(num_frames: int = 4) -> np.ndarray:
    frames = scene(num_frames)
    return np.concatenate([frames, np.roll(frames[..., :1], 5, 2)], -1)


@pytest.mark.parametrize("suffix", [".mp4", ".MOV", ".mkv"])
@pytest.mark.parametrize("turn", TURNS)
def test_every_turn_of_a_display_matrix_is_shown(tmp_path: Path, suffix: str, turn: str) -> None:
    (a, b, c, d), shown = TURNS[turn]
    matrix = (a * ONE, b * ONE, 0, c * ONE, d * ONE, 0, 0, 0, 1 << 30)

    path = write_movie(tmp_path / f"a{suffix}", scene(2), matrix=matrix)

    assert largest_error(path, shown(scene(2))) < 2
    facts = probe(Footage(path))
    assert (facts.height, facts.width) == shown(scene(1)).shape[1:3]


def test_a_movie_turned_by_an_odd_angle_is_refused(tmp_path: Path) -> None:
    matrix = (46341, 46341, 0, -46341, 46341, 0, 0, 0, 1 << 30)
    path = write_movie(tmp_path / "a.mp4", scene(2), matrix=matrix)

    with pytest.raises(UnreadableMedia, match="not turned by a multiple of 90 degrees"):
        read(Footage(path))


@pytest.mark.parametrize("colorspace", [1, 5, 7, 9])
@pytest.mark.parametrize("color_range", [1, 2])
def test_matrix_and_range_are_as_the_movie_says(
    tmp_path: Path, colorspace: int, color_range: int
) -> None:
    tags = {"colorspace": colorspace, "color_range": color_range}

    assert largest_error(write_movie(tmp_path / "a.mp4", scene(2), tags=tags), scene(2)) < 2


def test_a_matrix_that_is_not_known_is_named(tmp_path: Path) -> None:
    path = write_movie(tmp_path / "a.mp4", scene(1))
    tagged = write_movie(tmp_path / "b.mp4", scene(1), tags={"color_range": 1})
    assert largest_error(path, scene(1)) == largest_error(tagged, scene(1))
    with av.open(str(tmp_path / "c.mp4"), "w") as container:
        stream = container.add_stream("libx264", rate=24, options={"crf": "0"})
        stream.height, stream.width, stream.pix_fmt = 32, 48, "yuv444p"
        stream.codec_context.colorspace = 14
        frame = av.VideoFrame.from_ndarray(scene(1)[0], format="rgb24").reformat(format="yuv444p")
        frame.colorspace = 14
        container.mux(stream.encode(frame))
        container.mux(stream.encode(None))

    with pytest.raises(UnreadableMedia, match="has the colour matrix ICtCp"):
        read(Footage(tmp_path / "c.mp4"))


def _pq(nits: np.ndarray) -> np.ndarray:
    """Source: SMPTE ST 2084:2014, 5.3."""
    power = (nits / 10000) ** (2610 / 16384)
    top, bottom = 3424 / 4096 + 2413 / 128 * power, 1 + 2392 / 128 * power
    return (top / bottom) ** (2523 / 32)


def _hlg(scene_light: np.ndarray) -> np.ndarray:
    """Source: ITU-R BT.2100-2, table 5."""
    bright = 0.17883277 * np.log(np.maximum(12 * scene_light - 0.28466892, 1e-9)) + 0.55991073
    return np.where(scene_light <= 1 / 12, np.sqrt(3 * scene_light), bright)


@pytest.mark.parametrize("transfer", [16, 18])
def test_hdr_becomes_sdr_with_white_at_203_nits(tmp_path: Path, transfer: int) -> None:
    grey = np.linspace(20, 250, 48).round().astype(np.uint8)
    truth = np.broadcast_to(grey[None, None, :, None], (2, 32, 48, 3))
    nits = srgb_to_linear(truth.astype(np.float32) / 255) * SDR_WHITE_NITS
    codes = _pq(nits) if transfer == 16 else _hlg((nits / 1000) ** (1 / 1.2))
    tags = {"color_trc": transfer, "color_primaries": 9, "colorspace": 9, "color_range": 1}

    coded = (codes * 255).round().astype(np.uint8)
    path = write_movie(tmp_path / "a.mov", coded, tags=tags)

    assert largest_error(path, truth) < 6  # 8 bits of PQ are coarse
    assert np.abs(read_matte(Footage(path)) * 255 - coded[..., 0]).max() < 2


def test_wide_primaries_become_rec709(tmp_path: Path) -> None:
    frames = np.full((1, 32, 48, 3), (200, 100, 100), np.uint8)
    path = write_movie(tmp_path / "a.mp4", frames, tags={"color_primaries": 12, "color_trc": 13})

    # Source: the matrix of CSS Color 4 from Display P3 to sRGB, by hand.
    assert np.allclose(read(Footage(path))[0, 0, 0] * 255, [214, 94, 97], atol=3)


def test_a_logarithmic_curve_is_refused_by_name(tmp_path: Path) -> None:
    path = write_movie(tmp_path / "a.mp4", scene(1), tags={"color_trc": 9})

    with pytest.raises(UnreadableMedia, match="has the transfer curve a logarithm"):
        read(Footage(path))


ALPHA = [
    ("prores_ks", "yuva444p10le", ".mov", {}, 2),
    ("qtrle", "argb", ".mov", {}, 0.01),
    ("png", "rgba", ".mov", {}, 0.01),
    ("ffv1", "bgra", ".mkv", {}, 0.01),
    ("ffv1", "gbrap16le", ".mkv", {}, 1.1),
    ("rawvideo", "rgba", ".avi", {}, 0.01),
    ("libvpx-vp9", "yuva420p", ".webm", {"lossless": "1"}, 2),
    ("libvpx-vp9", "yuva420p", ".mkv", {"lossless": "1"}, 2),
    ("libvpx", "yuva420p", ".webm", {"crf": "4", "b": "8M", "auto-alt-ref": "0"}, 6),
]


@pytest.mark.parametrize(("codec", "pix_fmt", "suffix", "options", "most"), ALPHA)
def test_alpha_is_read_wherever_it_is(
    tmp_path: Path, codec: str, pix_fmt: str, suffix: str, options: dict[str, str], most: float
) -> None:
    metadata = {"alpha_mode": "1"} if "vpx" in codec else None
    path = write_movie(
        tmp_path / f"a{suffix}", _rgba(), codec, pix_fmt, options=options, metadata=metadata
    )

    found = read(Footage(path)) * 255

    assert found.shape == (4, 32, 48, 4)
    assert np.abs(found[..., 3] - _rgba()[..., 3]).max() < most
    if "420" not in pix_fmt:
        assert np.abs(found[..., :3] - _rgba()[..., :3]).max() < most


def test_colours_said_to_be_multiplied_are_divided_by_alpha(tmp_path: Path) -> None:
    codes = np.full((2, 32, 48, 4), 100, np.uint8)
    codes[..., 3] = 200
    path = write_movie(tmp_path / "a.mov", codes, "png", "rgba")

    assert np.allclose(read(Footage(path))[..., :3] * 255, 100, atol=0.01)
    divided = read(Footage(path, is_premultiplied=True))
    assert np.allclose(divided[..., :3] * 255, 127.5, atol=0.01)
    assert np.allclose(divided[..., 3] * 255, 200, atol=0.01)


@pytest.mark.parametrize("aspect", [Fraction(2), Fraction(1, 2), Fraction(16, 15)])
@pytest.mark.parametrize("suffix", [".mp4", ".mkv"])
def test_pixels_are_made_square(tmp_path: Path, aspect: Fraction, suffix: str) -> None:
    path = write_movie(tmp_path / f"a{suffix}", scene(2), aspect=aspect)

    assert read(Footage(path)).shape == (2, 32, round(48 * aspect), 3)
    assert probe(Footage(path)).width == round(48 * aspect)


def test_grey_video_is_of_full_range_unless_it_says_otherwise(tmp_path: Path) -> None:
    grey = np.repeat(scene(2)[..., :1], 3, -1)

    assert largest_error(write_movie(tmp_path / "a.mkv", grey, "ffv1", "gray"), grey) < 1.1
    assert largest_error(write_movie(tmp_path / "b.mkv", grey, "ffv1", "gray16le"), grey) < 1.1


def _with_clap(path: Path, width: int) -> Path:
    """Write a clean aperture over the boxes colr, pasp and btrt of a sample entry."""
    tags = dict.fromkeys(("colorspace", "color_primaries", "color_trc", "color_range"), 1)
    write_movie(path, scene(2), aspect=Fraction(1), tags=tags)
    content = bytearray(path.read_bytes())
    place = min(content.index(name) for name in (b"colr", b"pasp", b"btrt")) - 4
    room = 0
    while content[place + room + 4 : place + room + 8] in (b"colr", b"pasp", b"btrt"):
        room += int.from_bytes(content[place + room : place + room + 4], "big")
    clap = struct.pack(">I4s8i", 40, b"clap", width, 1, 32, 1, 0, 1, 0, 1)
    filler = struct.pack(">I4s", room - 40, b"free").ljust(room - 40, b"\0")
    content[place : place + room] = clap + filler
    path.write_bytes(content)
    return path


def test_a_crop_that_a_container_asks_for_is_refused_by_name(tmp_path: Path) -> None:
    assert len(read(Footage(_with_clap(tmp_path / "whole.mp4", 48)))) == 2
    with pytest.raises(UnreadableMedia, match="asks to show only 40 x 32 of its 48 x 32"):
        read(Footage(_with_clap(tmp_path / "part.mp4", 40)))

    path = write_movie(tmp_path / "a.mkv", scene(2))
    display_unit, crop_left = b"\x54\xb2\x81\x04", b"\x54\xcc\x81\x08"
    content = path.read_bytes()
    assert content.count(display_unit) == 1
    path.write_bytes(content.replace(display_unit, crop_left))
    with pytest.raises(UnreadableMedia, match="asks to show only 40 x 32 of its 48 x 32"):
        read(Footage(path))


@pytest.mark.parametrize(
    ("codec", "pix_fmt", "suffix"),
    [
        ("libx264", "yuv420p", ".m4v"),
        ("libx265", "yuv420p10le", ".mp4"),
        ("mpeg2video", "yuv420p", ".mxf"),
        ("mpeg4", "yuv420p", ".avi"),
        ("mjpeg", "yuvj420p", ".mkv"),
        ("prores_ks", "yuv422p10le", ".mov"),
        ("libvpx-vp9", "yuv420p", ".webm"),
    ],
)
def test_round_trips_through_every_container_stay_close(
    tmp_path: Path, codec: str, pix_fmt: str, suffix: str
) -> None:
    options = {"x265-params": "log-level=none"} if codec == "libx265" else {"g": "50"}
    frames = scene(6, 64, 96)
    path = write_movie(tmp_path / f"a{suffix}", frames, codec, pix_fmt, fps=25, options=options)

    found = read(Footage(path))

    assert np.abs(found * 255 - frames).mean() < 4
    assert np.array_equal(read(Footage(path), [4]), found[4:5])
    assert (probe(Footage(path)).fps, probe(Footage(path)).times) == (25, None)
