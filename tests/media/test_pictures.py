import struct
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from PIL import Image, ImageCms

from layert2v_media.errors import UnreadableMedia
from layert2v_media.footage import read_picture
from layert2v_media.pictures import coded_size, read_coded
from layert2v_media.transfer import linear_to_srgb
from support.media_files import png_with, scene

STORED: dict[int, Callable[[np.ndarray], np.ndarray]] = {
    1: lambda a: a,
    2: lambda a: a[:, ::-1],
    3: lambda a: a[::-1, ::-1],
    4: lambda a: a[::-1],
    5: lambda a: a.transpose(1, 0, 2),
    6: lambda a: np.rot90(a, 1),
    7: lambda a: np.rot90(a, 2).transpose(1, 0, 2),
    8: lambda a: np.rot90(a, -1),
}
"""How a camera stores an upright picture, by EXIF orientation."""


def _scene() -> np.ndarray:
    return scene(1)[0]


def _rgba() -> np.ndarray:
    return np.dstack([_scene(), np.roll(_scene()[..., 0], 5, 1)])


@pytest.mark.parametrize("orientation", STORED)
@pytest.mark.parametrize("suffix", ["jpg", "png", "webp", "tif"])
def test_every_orientation_comes_out_upright(tmp_path: Path, suffix: str, orientation: int) -> None:
    path = tmp_path / f"a.{suffix}"
    stored = Image.fromarray(np.ascontiguousarray(STORED[orientation](_scene())))
    exif = Image.Exif()
    exif[274] = orientation
    options: dict[str, Any] = {
        "jpg": {"quality": 100, "subsampling": 0, "exif": exif.tobytes()},
        "png": {"exif": exif.tobytes()},
        "webp": {"lossless": True, "exif": exif.tobytes()},
        "tif": {"tiffinfo": {274: orientation}},
    }[suffix]
    stored.save(path, **options)

    assert np.abs(read_picture(path) * 255 - _scene()).max() < 4
    assert coded_size(path) == (48, 32)


@pytest.mark.parametrize("bits", [1, 2, 4, 8, 16])
def test_the_grey_that_a_png_calls_clear_has_no_alpha(tmp_path: Path, bits: int) -> None:
    codes = np.array([[0, 1], [1, 0]])
    samples = np.stack([codes >> k & 1 for k in reversed(range(bits))], -1)
    rows = b"".join(b"\0" + np.packbits(row).tobytes() for row in samples)
    path = tmp_path / "a.png"
    path.write_bytes(_grey_png(rows, bits, (b"tRNS", struct.pack(">H", 1))))

    rgba_HWC = read_picture(path)

    assert np.allclose(rgba_HWC[..., 0], codes / (2**bits - 1))
    assert np.array_equal(rgba_HWC[..., 3], 1 - codes)


def _grey_png(rows: bytes, bits: int, *chunks: tuple[bytes, bytes]) -> bytes:
    """Write a grey PNG of 2 x 2."""
    header = struct.pack(">IIBBBBB", 2, 2, bits, 0, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + png_with(
        b"", (b"IHDR", header), *chunks, (b"IDAT", zlib.compress(rows)), (b"IEND", b"")
    )


def test_a_tiff_of_sixteen_bits_whose_zero_is_white_is_not_a_negative(tmp_path: Path) -> None:
    path = _grey_tiff(tmp_path / "a.tif", photometric=0)

    assert np.allclose(read_picture(path)[..., 0] * 65535, 65535 - _RAMP, atol=0.01)


@pytest.mark.parametrize("orientation", STORED)
def test_a_tiff_of_sixteen_bits_is_upright_or_refused(tmp_path: Path, orientation: int) -> None:
    stored = np.ascontiguousarray(STORED[orientation](_RAMP[..., None])[..., 0])
    path = _grey_tiff(tmp_path / "a.tif", stored, orientation=orientation)

    if orientation > 4:
        with pytest.raises(UnreadableMedia, match=r"has 16 bits and is turned .*write it upright"):
            read_picture(path)
    else:
        assert np.allclose(read_picture(path)[..., 0] * 65535, _RAMP, atol=0.01)


def test_a_tiff_of_sixteen_bits_with_a_plane_for_each_colour_is_refused(tmp_path: Path) -> None:
    path = _grey_tiff(tmp_path / "a.tif", planar=2)

    with pytest.raises(UnreadableMedia, match="16 bits with a plane for each colour"):
        read_picture(path)


_RAMP = np.arange(24, dtype=np.uint16).reshape(4, 6) * 2500


def _grey_tiff(
    path: Path,
    codes_HW: np.ndarray = _RAMP,
    *,
    photometric: int = 1,
    orientation: int = 1,
    planar: int = 1,
) -> Path:
    """Write 16 bits of grey with tags that Pillow does not write."""
    (height, width), data = codes_HW.shape, codes_HW.astype("<u2").tobytes()
    shorts = {256: width, 257: height, 258: 16, 259: 1, 262: photometric, 273: 8,
              274: orientation, 277: 1, 278: height, 279: len(data), 284: planar}  # fmt: skip
    entries = b"".join(struct.pack("<HHIHH", tag, 3, 1, value, 0) for tag, value in shorts.items())
    head = struct.pack("<2sHI", b"II", 42, 8 + len(data))
    path.write_bytes(head + data + struct.pack("<H", len(shorts)) + entries + bytes(4))
    return path


def test_grey_of_a_tiff_that_is_multiplied_by_alpha_is_divided_by_it(tmp_path: Path) -> None:
    path = tmp_path / "a.tif"
    Image.new("LA", (6, 4), (50, 100)).save(path)
    content = path.read_bytes()
    unassociated = struct.pack("<HHIHH", 338, 3, 1, 2, 0)
    assert unassociated in content
    path.write_bytes(content.replace(unassociated, struct.pack("<HHIHH", 338, 3, 1, 1, 0)))

    assert np.allclose(read_picture(path) * 255, (127.5, 127.5, 127.5, 100), atol=1)


@pytest.mark.parametrize("suffix", ["png", "webp", "tif"])
def test_alpha_of_a_picture_is_straight(tmp_path: Path, suffix: str) -> None:
    options = {"lossless": True, "exact": True} if suffix == "webp" else {}
    Image.fromarray(_rgba()).save(tmp_path / f"a.{suffix}", **options)

    assert np.abs(read_picture(tmp_path / f"a.{suffix}") * 255 - _rgba()).max() < 1e-3


def test_colours_of_a_tiff_that_says_associated_alpha_are_divided_by_it(tmp_path: Path) -> None:
    colours = np.full((4, 6, 4), 100, np.uint8)
    colours[..., 3] = 128
    path = tmp_path / "a.tif"
    Image.fromarray(colours).save(path)
    unassociated = struct.pack("<HHIHH", 338, 3, 1, 2, 0)
    content = path.read_bytes()
    assert unassociated in content
    path.write_bytes(content.replace(unassociated, struct.pack("<HHIHH", 338, 3, 1, 1, 0)))

    rgba_HWC = read_picture(path)

    assert np.allclose(rgba_HWC[..., :3] * 255, 100 * 255 / 128, atol=1)
    assert np.allclose(rgba_HWC[..., 3] * 255, 128)


@pytest.mark.parametrize("suffix", ["png", "tif"])
@pytest.mark.parametrize("channels", [1, 3, 4])
def test_sixteen_bits_keep_their_precision(tmp_path: Path, suffix: str, channels: int) -> None:
    codes = np.random.default_rng(0).integers(0, 1 << 16, (5, 7, channels)).astype(np.uint16)
    order = {1: [0], 3: [2, 1, 0], 4: [2, 1, 0, 3]}[channels]
    cv2.imwrite(str(tmp_path / f"a.{suffix}"), np.ascontiguousarray(codes[..., order]))

    found = read_picture(tmp_path / f"a.{suffix}")[..., :channels]

    assert np.allclose(found * 65535, codes, atol=0.01)


@pytest.mark.parametrize("mode", ["1", "L", "LA", "P", "PA"])
def test_grey_and_palettes_become_rgb(tmp_path: Path, mode: str) -> None:
    grey = np.where(_scene()[..., :1] > 99, 255, 0).astype(np.uint8)
    picture = Image.fromarray(np.repeat(grey, 3, -1)).convert("L" if mode == "PA" else mode)
    options = {"transparency": 1} if mode == "PA" else {}
    picture.save(tmp_path / "a.png", **options)

    found = read_picture(tmp_path / "a.png")

    assert np.array_equal(found[..., 0] * 255, grey[..., 0])
    assert found.shape[-1] == (4 if mode == "LA" or options else 3)


@pytest.mark.parametrize("suffix", ["png", "jpg", "webp"])
def test_bytes_behind_the_end_are_no_damage_and_missing_ones_are(
    tmp_path: Path, suffix: str
) -> None:
    noise = np.random.default_rng(0).integers(0, 256, (64, 64, 3), np.uint8)
    path = tmp_path / f"a.{suffix}"
    Image.fromarray(noise).save(path)
    whole = path.read_bytes()

    path.write_bytes(whole + b"motion" * 400)
    assert read_picture(path).shape == (64, 64, 3)
    path.write_bytes(whole[: len(whole) * 3 // 4])
    with pytest.raises(UnreadableMedia, match="damaged or cut short"):
        read_picture(path)


def test_a_sixteen_bit_picture_cut_short_is_refused(tmp_path: Path) -> None:
    noise = np.random.default_rng(0).integers(0, 1 << 16, (32, 32, 3)).astype(np.uint16)
    cv2.imwrite(str(tmp_path / "a.png"), noise)
    content = (tmp_path / "a.png").read_bytes()
    (tmp_path / "a.png").write_bytes(content[: len(content) // 2])

    with pytest.raises(UnreadableMedia, match="damaged or cut short"):
        read_picture(tmp_path / "a.png")


def _save_with(path: Path, *chunks: tuple[bytes, bytes]) -> Path:
    Image.fromarray(_scene()).save(path)
    path.write_bytes(png_with(path.read_bytes(), *chunks))
    return path


def test_a_png_that_says_linear_light_becomes_srgb(tmp_path: Path) -> None:
    path = _save_with(tmp_path / "a.png", (b"gAMA", struct.pack(">I", 100_000)))

    expected = linear_to_srgb(_scene().astype(np.float32) / 255)
    assert np.abs(read_picture(path) - expected).max() < 1e-5
    assert np.abs(read_coded(path, as_data=True) * 255 - _scene()).max() < 1e-3


@pytest.mark.parametrize(
    "chunk",
    [
        (b"gAMA", struct.pack(">I", 45_455)),
        (b"sRGB", b"\0"),
        (b"cICP", bytes([1, 13, 0, 1])),
        (b"cHRM", struct.pack(">8I", 31270, 32900, 64000, 33000, 30000, 60000, 15000, 6000)),
    ],
)
def test_a_png_that_says_srgb_is_taken_as_it_is(tmp_path: Path, chunk: tuple[bytes, bytes]) -> None:
    path = _save_with(tmp_path / "a.png", chunk)

    assert np.abs(read_picture(path) * 255 - _scene()).max() < 1e-3


def test_a_display_p3_png_is_more_colourful_in_srgb(tmp_path: Path) -> None:
    Image.new("RGB", (2, 2), (200, 100, 100)).save(tmp_path / "a.png")
    content = (tmp_path / "a.png").read_bytes()
    (tmp_path / "a.png").write_bytes(png_with(content, (b"cICP", bytes([12, 13, 0, 1]))))

    # Source: the matrix of CSS Color 4 from Display P3 to sRGB, by hand.
    assert np.allclose(read_picture(tmp_path / "a.png")[0, 0] * 255, [214, 94, 97], atol=1.5)


def test_an_icc_profile_of_srgb_changes_nothing_and_another_does(tmp_path: Path) -> None:
    srgb = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    Image.fromarray(_scene()).save(tmp_path / "a.png", icc_profile=srgb)
    linear = bytearray(srgb)
    start = linear.index(b"para")
    linear[start + 8 : start + 10] = b"\0\0"
    linear[start + 12 : start + 16] = struct.pack(">i", 65536)
    Image.fromarray(_scene()).save(tmp_path / "b.png", icc_profile=bytes(linear))

    assert np.abs(read_picture(tmp_path / "a.png") * 255 - _scene()).max() < 1e-3
    expected = linear_to_srgb(_scene().astype(np.float32) / 255)
    assert np.abs(read_picture(tmp_path / "b.png") - expected).max() < 4e-3


@pytest.mark.parametrize(
    ("profile", "said"),
    [
        (ImageCms.ImageCmsProfile(ImageCms.createProfile("LAB")).tobytes(), "its colours are Lab"),
        (b"junk" * 50, "it is damaged"),
    ],
)
def test_a_profile_that_is_not_read_is_named(tmp_path: Path, profile: bytes, said: str) -> None:
    Image.fromarray(_scene()).save(tmp_path / "a.png", icc_profile=profile)

    with pytest.raises(UnreadableMedia, match=f"holds the colour profile .*{said}"):
        read_picture(tmp_path / "a.png")


def test_pixels_that_are_not_square_are_made_so(tmp_path: Path) -> None:
    path = _save_with(tmp_path / "a.png", (b"pHYs", struct.pack(">IIB", 1, 2, 0)))

    assert read_picture(path).shape == (32, 96, 3)
    assert coded_size(path) == (96, 32)


@pytest.mark.parametrize(
    ("suffix", "options", "said"),
    [
        ("webp", {"save_all": True, "append_images": 1}, "holds 2 pictures"),
        ("png", {"save_all": True, "append_images": 1}, "holds 2 pictures"),
        ("tif", {"save_all": True, "append_images": 1}, "holds 2 pictures"),
        ("jpg", {"mode": "CMYK"}, "has CMYK colours"),
        ("tif", {"mode": "F"}, "holds floating point numbers"),
    ],
)
def test_pictures_of_other_kinds_are_refused_by_what_they_are(
    tmp_path: Path, suffix: str, options: dict[str, Any], said: str
) -> None:
    picture = Image.fromarray(_scene())
    mode = options.pop("mode", None)
    if mode:
        picture = picture.convert("L").convert(mode)
    if "append_images" in options:
        options = {**options, "append_images": [picture.rotate(90)]}
    picture.save(tmp_path / f"a.{suffix}", **options)

    with pytest.raises(UnreadableMedia, match=said):
        read_picture(tmp_path / f"a.{suffix}")


def test_a_picture_is_what_it_holds_and_not_what_it_is_called(tmp_path: Path) -> None:
    Image.fromarray(_scene()).save(tmp_path / "a.png")
    (tmp_path / "a.png").replace(tmp_path / "a.JPG")

    assert np.abs(read_picture(tmp_path / "a.JPG") * 255 - _scene()).max() < 1e-3


@pytest.mark.parametrize("content", [b"", b"not a picture", b"\x89PNG\r\n\x1a\n"])
def test_what_is_no_picture_is_refused(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "a.png").write_bytes(content)

    with pytest.raises(UnreadableMedia, match=r"a\.png is "):
        read_picture(tmp_path / "a.png")


def test_a_size_beyond_the_limit_is_refused_by_the_header(tmp_path: Path) -> None:
    Image.new("L", (9000, 8000)).save(tmp_path / "a.png")

    with pytest.raises(UnreadableMedia, match="says it is 9000 x 8000; the limit is"):
        read_picture(tmp_path / "a.png")


def test_a_png_that_is_too_small_for_its_size_is_not_decoded(tmp_path: Path) -> None:
    Image.fromarray(_scene()).save(tmp_path / "a.png")
    content = bytearray((tmp_path / "a.png").read_bytes())
    content[16:24] = struct.pack(">II", 3000, 3000)
    content[29:33] = struct.pack(">I", zlib.crc32(content[12:29]))
    (tmp_path / "a.png").write_bytes(content)

    with pytest.raises(UnreadableMedia, match="damaged or cut short"):
        coded_size(tmp_path / "a.png")


def test_a_large_picture_in_a_few_bytes_is_refused(tmp_path: Path) -> None:
    Image.new("RGB", (8000, 8000)).save(tmp_path / "a.webp", lossless=True)

    with pytest.raises(UnreadableMedia, match=r"says it is 8000 x 8000 in \d+ bytes"):
        read_picture(tmp_path / "a.webp")
