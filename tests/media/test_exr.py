import struct
from pathlib import Path
from typing import Any

import numpy as np
import OpenEXR
import pytest

from layert2v_media import limits
from layert2v_media.errors import UnreadableMedia
from layert2v_media.exr import read_exr, read_exr_matte
from layert2v_media.exr_layers import exr_size
from layert2v_media.footage import Footage, probe, read_matte
from layert2v_media.transfer import linear_to_srgb

SHAPE = (6, 8)


def _write(path: Path, channels: dict[str, Any], **header: object) -> Path:
    halves = {name: np.full(SHAPE, plane, np.float16) if np.isscalar(plane)
              else plane.astype(np.float16) for name, plane in channels.items()}  # fmt: skip
    with OpenEXR.File({"type": OpenEXR.scanlineimage, **header}, halves) as file:
        file.write(str(path))
    return path


def _srgb(*linear: float) -> np.ndarray:
    return linear_to_srgb(np.array([[linear]], np.float32))[0, 0]


@pytest.mark.parametrize("compression", ["NO", "RLE", "ZIPS", "ZIP", "PIZ", "PXR24", "DWAA"])
def test_every_compression_is_read(tmp_path: Path, compression: str) -> None:
    kind = getattr(OpenEXR, f"{compression}_COMPRESSION")
    path = _write(tmp_path / "a.exr", {"R": 0.5, "G": 0.25, "B": 0.1}, compression=kind)

    assert np.allclose(read_exr(path)[2, 3], _srgb(0.5, 0.25, 0.1), atol=5e-3)


def test_tiles_are_read(tmp_path: Path) -> None:
    header = {"type": OpenEXR.tiledimage, "tiles": OpenEXR.TileDescription()}
    path = _write(tmp_path / "a.exr", {"Y": 0.5}, **header)

    assert np.allclose(read_exr(path), _srgb(0.5)[0], atol=1e-3)


def test_deep_data_is_refused(tmp_path: Path) -> None:
    samples = np.empty((2, 2), dtype=object)
    for place in np.ndindex(2, 2):
        samples[place] = np.array([1.0, 2.0], np.float32)
    header = {"type": OpenEXR.deepscanline, "compression": OpenEXR.ZIPS_COMPRESSION}
    with OpenEXR.File(header, {"Z": samples}) as file:
        file.write(str(tmp_path / "a.exr"))

    with pytest.raises(UnreadableMedia, match="holds deep data"):
        read_exr(tmp_path / "a.exr")


def test_chromaticities_become_rec709_and_white_stays_white(tmp_path: Path) -> None:
    ap1 = (0.713, 0.293, 0.165, 0.830, 0.128, 0.044, 0.32168, 0.33767)
    channels = {"R": 0.2, "G": 0.4, "B": 0.3}
    # Source: the matrix of ACES 1.3 from AP1 to Rec. 709, Bradford.
    matrix = [
        [1.70505, -0.62179, -0.08326],
        [-0.13026, 1.1408, -0.01055],
        [-0.024, -0.12897, 1.15297],
    ]
    expected = _srgb(*(np.array(matrix) @ [0.2, 0.4, 0.3]))

    coloured = read_exr(_write(tmp_path / "a.exr", channels, chromaticities=ap1))
    white = read_exr(_write(tmp_path / "w.exr", dict.fromkeys("RGB", 1.0), chromaticities=ap1))

    assert np.allclose(coloured[0, 0], expected, atol=2e-3)
    assert np.allclose(white, 1, atol=1e-3)


@pytest.mark.parametrize("wrong", [(0.0,) * 8, (0.3, 0.3, 0.3, 0.3, 0.3, 0.3, 0.3, 0.3)])
def test_chromaticities_that_are_none_are_refused(tmp_path: Path, wrong: tuple[float, ...]) -> None:
    path = _write(tmp_path / "a.exr", dict.fromkeys("RGB", 0.5), chromaticities=wrong)

    with pytest.raises(UnreadableMedia, match="says invalid chromaticities"):
        read_exr(path)


def test_a_named_colour_space_counts_where_there_are_no_chromaticities(tmp_path: Path) -> None:
    channels = {"R": 0.2, "G": 0.4, "B": 0.3}
    ap1 = (0.713, 0.293, 0.165, 0.830, 0.128, 0.044, 0.32168, 0.33767)
    named = _write(tmp_path / "a.exr", channels, colorInteropID="lin_ap1_scene")
    said = _write(tmp_path / "b.exr", channels, chromaticities=ap1)
    odd = _write(tmp_path / "c.exr", channels, colorInteropID="g22_adobergb_display")

    assert np.allclose(read_exr(named), read_exr(said), atol=1e-4)
    with pytest.raises(UnreadableMedia, match="says the colour space g22_adobergb_display"):
        read_exr(odd)


def _attribute(name: bytes, kind: bytes, data: bytes) -> bytes:
    return name + b"\0" + kind + b"\0" + struct.pack("<I", len(data)) + data


def _channel(name: bytes, sampling: int) -> bytes:
    return name + b"\0" + struct.pack("<iB3xii", 1, 0, sampling, sampling)


def _write_luminance_chroma(path: Path, y: float, ry: float, by: float) -> Path:
    """Write Y whole and RY, BY at half size, uncompressed, by hand: OpenEXR's module cannot."""
    height, width = SHAPE
    window = struct.pack("<4i", 0, 0, width - 1, height - 1)
    channels = _channel(b"BY", 2) + _channel(b"RY", 2) + _channel(b"Y", 1) + b"\0"
    head = b"\x76\x2f\x31\x01" + struct.pack("<I", 2)
    head += _attribute(b"channels", b"chlist", channels)
    head += _attribute(b"compression", b"compression", b"\0")
    head += _attribute(b"dataWindow", b"box2i", window)
    head += _attribute(b"displayWindow", b"box2i", window)
    head += _attribute(b"lineOrder", b"lineOrder", b"\0")
    head += _attribute(b"pixelAspectRatio", b"float", struct.pack("<f", 1))
    head += _attribute(b"screenWindowCenter", b"v2f", struct.pack("<2f", 0, 0))
    head += _attribute(b"screenWindowWidth", b"float", struct.pack("<f", 1)) + b"\0"
    lines = []
    for row in range(height):
        chroma = [np.full(width // 2, value, "<f2").tobytes() for value in (by, ry)]
        data = b"".join(chroma if row % 2 == 0 else []) + np.full(width, y, "<f2").tobytes()
        lines.append(struct.pack("<iI", row, len(data)) + data)
    offsets, place = [], len(head) + 8 * height
    for line in lines:
        offsets.append(struct.pack("<Q", place))
        place += len(line)
    path.write_bytes(head + b"".join(offsets) + b"".join(lines))
    return path


def test_luminance_and_chroma_become_rgb(tmp_path: Path) -> None:
    red, green, blue = 0.5, 0.25, 0.1
    y = 0.2126 * red + 0.7152 * green + 0.0722 * blue
    path = _write_luminance_chroma(tmp_path / "a.exr", y, (red - y) / y, (blue - y) / y)

    found = read_exr(path)

    assert found.shape == (*SHAPE, 3)
    assert np.allclose(found, _srgb(red, green, blue), atol=3e-3)


VIEW_LAYERS = {
    f"{layer}.{name}": value
    for layer, value in (("background", 0.2), ("ball", 0.6))
    for name in ("Combined.R", "Combined.G", "Combined.B", "Combined.A", "Depth.Z", "Mist.Z",
                 "DiffDir.R", "DiffDir.G", "DiffDir.B", "CryptoObject00.r", "CryptoObject00.g")
}  # fmt: skip


@pytest.mark.parametrize(("layer", "value"), [("background", 0.2), ("Ball", 0.6)])
def test_a_view_layer_of_blender_is_its_combined_pass(
    tmp_path: Path, layer: str, value: float
) -> None:
    path = _write(
        tmp_path / "a.exr", {**VIEW_LAYERS, **{k: 1.0 for k in VIEW_LAYERS if k[-1] == "A"}}
    )

    found = read_exr(path, layer)

    assert np.allclose(found[0, 0], [*_srgb(value, value, value), 1], atol=1e-3)
    assert read_exr(path, f"{layer}.Combined").shape == (*SHAPE, 4)
    assert read_exr(path, f"{layer}.DiffDir").shape == (*SHAPE, 3)


def test_the_composite_wins_over_view_layers_and_a_number_is_part_of_a_name(
    tmp_path: Path,
) -> None:
    composite = {f"Composite.Combined.{letter}": 0.9 for letter in "RGB"}
    path = _write(tmp_path / "a.exr", VIEW_LAYERS | composite)
    numbered = {f"ball.001.Combined.{letter}": 0.9 for letter in "RGB"}
    other = _write(tmp_path / "b.exr", numbered)

    assert np.allclose(read_exr(path), _srgb(0.9)[0], atol=1e-3)
    assert read_exr(other, "ball.001").shape == (*SHAPE, 3)
    with pytest.raises(UnreadableMedia, match="layer ball is not one"):
        read_exr(other, "ball")


def test_a_lone_view_layer_needs_no_name(tmp_path: Path) -> None:
    channels = {name: value for name, value in VIEW_LAYERS.items() if name.startswith("ball")}

    assert read_exr(_write(tmp_path / "a.exr", channels)).shape == (*SHAPE, 4)


@pytest.mark.parametrize("asked", [None, "RGBA"])
def test_root_rgba_beside_other_layers_is_the_picture(tmp_path: Path, asked: str | None) -> None:
    channels = {**dict.fromkeys("RGBA", 1.0), "diffuse.R": 0.1, "diffuse.G": 0.1, "diffuse.B": 0.1,
                "Z": 3.0}  # fmt: skip
    path = _write(tmp_path / "a.exr", channels)

    assert np.allclose(read_exr(path, asked), 1, atol=1e-3)
    assert np.allclose(read_exr(path, "diffuse"), _srgb(0.1)[0], atol=1e-3)


@pytest.mark.parametrize("asked", [None, "dog"])
def test_layers_are_named_where_none_can_be_chosen(tmp_path: Path, asked: str | None) -> None:
    path = _write(tmp_path / "a.exr", VIEW_LAYERS)

    with pytest.raises(UnreadableMedia, match=r"holds the layers background\.Combined, .*ball\."):
        read_exr(path, asked)


def test_parts_are_layers(tmp_path: Path) -> None:
    parts = [
        OpenEXR.Part({"name": name, "type": OpenEXR.scanlineimage},
                     {letter: np.full(SHAPE, value, np.float16) for letter in "RGB"})
        for name, value in (("background.Combined", 0.2), ("ball.Combined", 0.6))
    ]  # fmt: skip
    OpenEXR.File(parts).write(str(tmp_path / "a.exr"))

    assert np.allclose(read_exr(tmp_path / "a.exr", "ball"), _srgb(0.6)[0], atol=1e-3)


@pytest.mark.parametrize("corner", [(2, 1), (-3, -2), (5, 4)])
def test_a_data_window_lies_in_its_display_window(tmp_path: Path, corner: tuple[int, int]) -> None:
    x, y = corner
    height, width = SHAPE
    display = (np.array((0, 0), np.int32), np.array((width - 1, height - 1), np.int32))
    last = (x + width - 1, y + height - 1)
    data = (np.array(corner, np.int32), np.array(last, np.int32))
    path = _write(tmp_path / "a.exr", {"Y": 1.0}, displayWindow=display, dataWindow=data)
    expected = np.zeros(SHAPE)
    expected[max(y, 0) : max(y + height, 0), max(x, 0) : max(x + width, 0)] = 1

    assert np.allclose(read_exr(path)[..., 0], expected, atol=1e-3)
    assert exr_size(path) == (width, height)


def test_anamorphic_pixels_are_made_square(tmp_path: Path) -> None:
    path = _write(tmp_path / "a.exr", {"Y": 0.5}, pixelAspectRatio=2.0)

    assert read_exr(path).shape == (6, 16, 3)
    assert exr_size(path) == (16, 6)


def test_colour_is_divided_by_alpha_and_alpha_must_be_one(tmp_path: Path) -> None:
    path = _write(tmp_path / "a.exr", {**dict.fromkeys("RGB", 0.25), "A": 0.5})
    wild = _write(tmp_path / "b.exr", {**dict.fromkeys("RGB", 0.25), "A": 1.5})

    assert np.allclose(read_exr(path)[0, 0], [*_srgb(0.5, 0.5, 0.5), 0.5], atol=1e-3)
    with pytest.raises(UnreadableMedia, match=r"has alpha from 1\.5 to 1\.5"):
        read_exr(wild)


@pytest.mark.parametrize("share", [0.01, 0.5, 0.99])
def test_an_exr_cut_short_is_refused_and_nothing_is_printed(
    tmp_path: Path, share: float, capsys: pytest.CaptureFixture[str]
) -> None:
    noise = np.random.default_rng(0).random(SHAPE)
    path = _write(tmp_path / "a.exr", dict.fromkeys("RGB", noise))
    path.write_bytes(path.read_bytes()[: int(path.stat().st_size * share)])

    with pytest.raises(UnreadableMedia, match=r"a\.exr .*damaged or cut short"):
        read_exr(path)
    assert capsys.readouterr().out == ""


def test_not_a_number_is_named_and_infinity_is_the_brightest_half(tmp_path: Path) -> None:
    nan = np.zeros(SHAPE)
    nan[1, 2:4] = np.nan

    with pytest.raises(UnreadableMedia, match=r"holds 2 pixels .*NaN.* channel Y"):
        read_exr(_write(tmp_path / "a.exr", {"Y": nan}))
    bright = read_exr(_write(tmp_path / "b.exr", {"Y": np.inf}))
    assert (bright == linear_to_srgb(np.full((1, 1), np.finfo(np.float16).max, np.float32))).all()


def test_a_pass_that_is_not_asked_for_may_hold_what_is_not_a_number(tmp_path: Path) -> None:
    channels = {**dict.fromkeys("RGBA", 0.5), "Fox.Vector.X": np.nan, "Fox.Vector.Y": np.nan}
    path = _write(tmp_path / "a.exr", channels)

    assert np.isfinite(read_exr(path)).all()
    with pytest.raises(UnreadableMedia, match=r"NaN.* channel Fox\.Vector\.X"):
        read_exr_matte(path, "Fox.Vector")


def test_channels_without_colour_are_named(tmp_path: Path) -> None:
    with pytest.raises(UnreadableMedia, match="holds the channels Z in its layer RGBA"):
        read_exr(_write(tmp_path / "a.exr", {"Z": 1.0}))


def test_more_than_the_limits_is_refused_by_the_header(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = _write(tmp_path / "a.exr", {f"l{k}.R": 0.5 for k in range(40)})

    monkeypatch.setattr("layert2v_media.exr_layers.MAX_CHANNELS", 39)
    with pytest.raises(UnreadableMedia, match="holds 40 channels of"):
        read_exr(path)
    monkeypatch.setattr(limits, "MAX_PIXELS", 40)
    with pytest.raises(UnreadableMedia, match="says it is 8 x 6; the limit is 40 pixels"):
        read_exr(path)


def test_a_matte_is_data_and_is_found_for_the_whole_layer(tmp_path: Path) -> None:
    for t, alpha in enumerate((0.25, 1.0, 0.0)):
        _write(tmp_path / f"m_{t}.exr", {**dict.fromkeys("RGB", 0.0), "A": alpha})

    assert np.allclose(read_matte(Footage(tmp_path))[:, 0, 0], [0.25, 1, 0])
    assert np.allclose(read_exr_matte(_write(tmp_path / "y.exr", {"Y": 0.25})), 0.25)


def test_an_exr_whose_beginning_is_damaged_is_still_called_one(tmp_path: Path) -> None:
    path = _write(tmp_path / "a.exr", {"Y": 0.5})
    path.write_bytes(b"XXXX" + path.read_bytes()[4:])

    with pytest.raises(UnreadableMedia, match="cannot be read as EXR"):
        probe(Footage(tmp_path))
