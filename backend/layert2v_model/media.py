"""Pixels to files and back: EXR masters, PNG for the timeline, mattes, movies. No torch, no gRPC.

Shape letters: T frames, H, W, C channels. In memory pixels are float32, display-referred sRGB, RGB
straight, alpha in [0, 1]; each function says what its file holds. Whatever is written appears
under its name complete or not at all.
"""

import errno
import os
import re
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import cv2
import numpy as np
import OpenEXR
from numpy.typing import NDArray

Pixels = NDArray[np.float32]

IMAGE_SUFFIXES = (".png", ".exr", ".jpg", ".jpeg")
MOVIE_SUFFIXES = (".mp4", ".mov", ".mkv", ".webm", ".avi", ".m4v", ".mxf")
MAX_PIXELS = 1 << 26
"""Largest picture read, 8192 x 8192: a damaged header may ask for far more memory than exists."""
_PNG_COMPRESSION = 3
"""1280x720 noise, 2 cores, November 2026: level 3 takes 0.11 s, 6 takes 0.12 s and saves 2 %."""
_REC709 = (0.64, 0.33, 0.30, 0.60, 0.15, 0.06, 0.3127, 0.3290)
"""Primaries and white point as EXR's `chromaticities`. Source: ITU-R BT.709-6, table 1."""
ALPHA_FLOOR = 1.0 / 512.0
"""Alpha under which a premultiplied colour says nothing: half a code value of 8 bits."""


class UnreadableMedia(Exception):
    """Raised when a file or folder does not hold the frames it should; says why and the remedy."""


@contextmanager
def _published(path: Path) -> Iterator[Path]:
    """Give a temporary name beside `path`; rename it to `path` on success, remove it on failure."""
    draft = path.with_name(f".{path.stem}.{os.getpid()}-{threading.get_ident()}{path.suffix}")
    try:
        yield draft
        os.replace(draft, path)
    finally:
        draft.unlink(missing_ok=True)


def srgb_to_linear(srgb: Pixels) -> Pixels:
    """Turn display-referred sRGB into scene-linear Rec. 709, negatives mirrored, never clipped.

    Source:
        IEC 61966-2-1:1999, 5.2.
    """
    size = np.abs(srgb)
    curved = cv2.pow((size + np.float32(0.055)) / np.float32(1.055), 2.4).reshape(srgb.shape)
    return np.copysign(np.where(size <= 0.04045, size / np.float32(12.92), curved), srgb)


def linear_to_srgb(linear: Pixels) -> Pixels:
    """Turn scene-linear Rec. 709 into display-referred sRGB; undoes `srgb_to_linear`.

    Source:
        IEC 61966-2-1:1999, 5.2.
    """
    size = np.abs(linear)
    curved = cv2.pow(size, 1 / 2.4).reshape(linear.shape) * np.float32(1.055) - np.float32(0.055)
    return np.copysign(np.where(size <= 0.0031308, size * np.float32(12.92), curved), linear)


def write_exr(path: Path, rgb_HWC: Pixels, alpha_HW: Pixels | None = None) -> None:
    """Write one frame as a master: half, ZIP, scene-linear Rec. 709, atomically.

    Args:
        path: Where the file appears, complete or not at all; its folder exists.
        rgb_HWC: Straight sRGB, (H, W, 3), float32.
        alpha_HW: Alpha in [0, 1]; the file is then RGBA, **premultiplied**. Without it, RGB.

    Raises:
        OSError: The file cannot be written; a full disk is `errno.ENOSPC`.
    """
    linear_HWC = srgb_to_linear(np.ascontiguousarray(rgb_HWC, dtype=np.float32))
    if alpha_HW is not None:
        linear_HWC = np.dstack([linear_HWC * alpha_HW[..., None], alpha_HW])
    header = {
        "compression": OpenEXR.ZIP_COMPRESSION,
        "type": OpenEXR.scanlineimage,
        "chromaticities": _REC709,
    }
    channels = {"RGB" if alpha_HW is None else "RGBA": linear_HWC.astype(np.float16)}
    with _published(path) as draft:
        try:
            with OpenEXR.File(header, channels) as file:
                file.write(str(draft))
        except RuntimeError as failure:
            raise _os_error(failure, path) from failure


def _os_error(failure: RuntimeError, path: Path) -> OSError:
    """The library's text, which ends with the system's words, as the error the system meant."""
    codes = (code for code in errno.errorcode if os.strerror(code) in str(failure))
    code = next(codes, errno.EIO)
    return OSError(code, os.strerror(code), str(path))


def read_exr(path: Path) -> tuple[Pixels, Pixels | None]:
    """Read a single-part scene-linear Rec. 709 EXR of RGB, premultiplied RGBA, or Y.

    Returns:
        Straight sRGB (H, W, 3), not clipped, colour under a vanishing alpha 0; and alpha (H, W) in
        [0, 1] or None. NaN reads as 0.

    Raises:
        UnreadableMedia: Missing, damaged, truncated, larger than `MAX_PIXELS`, or other channels.
    """
    planes = _exr_planes(path)
    names = ("R", "G", "B") if "R" in planes else ("Y", "Y", "Y")
    missing = [name for name in names if name not in planes]
    if missing:
        raise UnreadableMedia(
            f"{path} holds the channels {', '.join(sorted(planes))}: R, G, B or Y are needed; "
            f"write a single-layer EXR"
        )
    linear_HWC = np.dstack([planes[name] for name in names])
    alpha_HW = planes.get("A")
    if alpha_HW is not None:
        alpha_HW = alpha_HW.clip(0, 1)
        visible_HW1 = (alpha_HW > ALPHA_FLOOR)[..., None]
        linear_HWC = linear_HWC / alpha_HW[..., None].clip(ALPHA_FLOOR, 1) * visible_HW1
    return linear_to_srgb(linear_HWC), alpha_HW


def _exr_planes(path: Path) -> dict[str, Pixels]:
    """Channels by name, placed in the display window; infinity as the largest half float.

    Half floats overflow to infinity at a very bright pixel, but no picture holds NaN.
    """
    try:
        _check_exr_header(path)
        with OpenEXR.File(str(path), separate_channels=True) as file:
            # A truncated or corrupt part is not an error to the library: it is left out.
            if len(file.parts) != 1:
                raise UnreadableMedia(
                    f"{path} is damaged or cut short, or has {len(file.parts)} parts where 1 is "
                    f"read: write it again"
                )
            header = dict(file.header())  # leaving the block empties the library's own
            planes = {
                name: _bounded(path, name, item.pixels) for name, item in file.channels().items()
            }
    except (RuntimeError, ValueError, OSError) as failure:
        raise UnreadableMedia(
            f"{path} cannot be read as EXR: it is missing, damaged or cut short; write it again"
        ) from failure
    return {name: _in_display_window(plane, header) for name, plane in planes.items()}


def _check_exr_header(path: Path) -> None:
    with OpenEXR.File(str(path), header_only=True) as file:
        (left, top), (right, bottom) = file.header()["displayWindow"]
        (data_left, data_top), (data_right, data_bottom) = file.header()["dataWindow"]
    _check_size(path, int(right) - int(left) + 1, int(bottom) - int(top) + 1)
    _check_size(path, int(data_right) - int(data_left) + 1, int(data_bottom) - int(data_top) + 1)


def _check_size(path: Path, width: int, height: int) -> None:
    if width < 1 or height < 1 or width * height > MAX_PIXELS:
        raise UnreadableMedia(
            f"{path} says it is {width} x {height}, the limit is {MAX_PIXELS} pixels: "
            f"scale it down, or write it again if that is wrong"
        )


def _bounded(path: Path, channel: str, plane: NDArray[Any]) -> Pixels:
    count = int(np.isnan(plane).sum())
    if count:
        raise UnreadableMedia(
            f"{path} holds {count} pixels that are not numbers (NaN) in channel {channel}: render "
            f"or generate that frame again"
        )
    largest = float(np.finfo(np.float16).max)
    return plane.astype(np.float32).clip(-largest, largest)


def _in_display_window(plane_HW: Pixels, header: dict[str, Any]) -> Pixels:
    """Place a cropped data window in the picture, 0 around it (the EXR rule)."""
    (left, top), (right, bottom) = header["displayWindow"]
    data_left, data_top = header["dataWindow"][0]
    height, width = int(bottom - top) + 1, int(right - left) + 1
    y, x = int(data_top - top), int(data_left - left)
    rows, columns = plane_HW.shape
    if (y, x, rows, columns) == (0, 0, height, width):
        return plane_HW
    picture_HW = np.zeros((height, width), np.float32)
    inside = plane_HW[max(-y, 0) : max(height - y, 0), max(-x, 0) : max(width - x, 0)]
    y, x = max(y, 0), max(x, 0)
    picture_HW[y : y + inside.shape[0], x : x + inside.shape[1]] = inside
    return picture_HW


def to_8_bit(pixels: Pixels) -> NDArray[np.uint8]:
    """Round [0, 1] to code values 0 to 255, clipped."""
    return (pixels.clip(0, 1) * np.float32(255) + np.float32(0.5)).astype(np.uint8)


def write_png(path: Path, rgb_HWC: Pixels, alpha_HW: Pixels | None = None) -> None:
    """Write one frame for the timeline: 8-bit sRGB, RGBA **straight** or RGB, atomically.

    Raises:
        OSError: The file cannot be written; a full disk is `errno.ENOSPC`.
    """
    bgr = to_8_bit(rgb_HWC[..., ::-1])
    _write_png(path, bgr if alpha_HW is None else np.dstack([bgr, to_8_bit(alpha_HW)]))


def write_matte_png(path: Path, alpha_HW: Pixels) -> None:
    """Write alpha as a matte: 8-bit grey, code value 255 * alpha, atomically.

    Raises:
        OSError: The file cannot be written; a full disk is `errno.ENOSPC`.
    """
    _write_png(path, to_8_bit(alpha_HW))


def _write_png(path: Path, codes: NDArray[np.uint8]) -> None:
    options = [cv2.IMWRITE_PNG_COMPRESSION, _PNG_COMPRESSION]
    encoded = cv2.imencode(".png", np.ascontiguousarray(codes), options)[1]
    with _published(path) as draft:
        draft.write_bytes(encoded.tobytes())


def read_png(path: Path) -> tuple[Pixels, Pixels | None]:
    """Read an 8- or 16-bit PNG or a JPEG: sRGB (H, W, 3) straight in [0, 1], and alpha or None.

    Grey pictures come back as three equal channels.

    Raises:
        UnreadableMedia: Missing, damaged or cut short.
    """
    codes = _decode_image(path)
    values = codes.astype(np.float32) / np.float32(np.iinfo(codes.dtype).max)
    if values.ndim == 2:
        return np.repeat(values[..., None], 3, axis=2), None
    rgb_HWC = np.ascontiguousarray(values[..., 2::-1])
    return rgb_HWC, values[..., 3] if values.shape[2] == 4 else None


def _decode_image(path: Path) -> NDArray[Any]:
    try:
        encoded = path.read_bytes()
    except OSError as failure:
        raise UnreadableMedia(f"{path} cannot be read: {failure.strerror}") from failure
    # A JPEG cut short decodes to grey without an error, so its end marker is looked for.
    is_cut = path.suffix.lower() in (".jpg", ".jpeg") and b"\xff\xd9" not in encoded[-64:]
    try:
        flags = cv2.IMREAD_UNCHANGED
        codes = None if is_cut else cv2.imdecode(np.frombuffer(encoded, np.uint8), flags)
    except cv2.error:  # an empty file, or a size beyond the decoder's limit
        codes = None
    if codes is None or codes.dtype not in (np.uint8, np.uint16):
        raise UnreadableMedia(f"{path} is not a picture, or damaged or cut short: write it again")
    return np.asarray(codes)


def read_frames(source: Path) -> Pixels:
    """Read a movie or a folder of images (PNG, EXR, JPEG) as (T, H, W, C), sRGB in [0, 1].

    Frames of a folder follow their numbers. C is 3, or 4 with straight alpha. EXR is taken as
    premultiplied scene-linear Rec. 709, everything else as straight sRGB. Values are clipped.

    Raises:
        UnreadableMedia: Nothing there, a frame missing, damaged, or of another size or kind.
    """
    if source.is_dir():
        read = read_exr if _kind(source) == ".exr" else read_png
        return _stacked([(path, _joined(*read(path))) for path in list_frames(source)])
    return _read_movie(source)


def read_matte(source: Path) -> Pixels:
    """Read a movie or a folder of images as alpha, (T, H, W) in [0, 1].

    A picture's own alpha is used where it has one that varies, else the mean of its colour
    channels. EXR colour channels are data here: they are not turned into sRGB.

    Raises:
        UnreadableMedia: As `read_frames`.
    """
    if source.is_dir() and _kind(source) == ".exr":
        return _stacked([(path, _exr_matte(path)) for path in list_frames(source)])
    frames_THWC = read_frames(source)
    if frames_THWC.shape[3] == 4 and frames_THWC[..., 3].min() < 1:
        return frames_THWC[..., 3]
    return frames_THWC[..., :3].mean(axis=3, dtype=np.float32)


def _exr_matte(path: Path) -> Pixels:
    planes = _exr_planes(path)
    if "A" in planes and planes["A"].min() < 1:
        return planes["A"].clip(0, 1)
    colours = [plane for name, plane in planes.items() if name != "A"] or [planes["A"]]
    return np.mean(colours, axis=0, dtype=np.float32).clip(0, 1)


def list_frames(folder: Path) -> list[Path]:
    """Image files of a folder in the order of the number that ends their names.

    Raises:
        UnreadableMedia: No images, images of several kinds, or a number missing or twice.
    """
    suffix = _kind(folder)
    frames = [path for path in folder.iterdir() if path.suffix.lower() == suffix]
    numbered = [(_number(path), path) for path in frames if not path.name.startswith(".")]
    if all(number is not None for number, _ in numbered):
        numbers = sorted(number for number, _ in numbered if number is not None)
        for expected, number in enumerate(numbers, start=numbers[0]):
            if number != expected:
                problem = (
                    f"frame {expected} is missing" if number > expected else "a frame is twice"
                )
                raise UnreadableMedia(f"{folder}: {problem}; frames are numbered without gaps")
        return [path for _, path in sorted(numbered)]
    return sorted(path for _, path in numbered)


def _number(path: Path) -> int | None:
    digits = re.search(r"(\d+)$", path.stem)
    return int(digits.group(1)) if digits else None


def _kind(folder: Path) -> str:
    """The one image suffix of a folder, lower case."""
    names = [path for path in folder.iterdir() if not path.name.startswith(".")]
    kinds = sorted({path.suffix.lower() for path in names} & set(IMAGE_SUFFIXES))
    if len(kinds) != 1:
        found = " and ".join(kinds) if kinds else "no images"
        raise UnreadableMedia(
            f"{folder} holds {found}: it should hold frames of one kind "
            f"({', '.join(IMAGE_SUFFIXES)})"
        )
    return kinds[0]


def _joined(rgb_HWC: Pixels, alpha_HW: Pixels | None) -> Pixels:
    pixels = rgb_HWC if alpha_HW is None else np.dstack([rgb_HWC, alpha_HW])
    return pixels.clip(0, 1)


def _stacked(frames: Sequence[tuple[Path, Pixels]]) -> Pixels:
    first, shape = frames[0][0], frames[0][1].shape
    for path, frame in frames:
        if frame.shape != shape:
            raise UnreadableMedia(
                f"{path} is {_described(frame.shape)} but {first.name} is {_described(shape)}: "
                f"all frames of a layer have one size and the same channels"
            )
    return np.stack([frame for _, frame in frames])


def _described(shape: tuple[int, ...]) -> str:
    channels = f", {shape[2]} channels" if len(shape) == 3 else ""
    return f"{shape[1]} x {shape[0]}{channels}"


def _read_movie(path: Path) -> Pixels:
    try:
        with av.open(str(path)) as container:
            if not container.streams.video:
                raise UnreadableMedia(f"{path} has no video stream: export it with picture")
            frames = _decode_movie(path, container)
    except (av.error.FFmpegError, OSError) as failure:
        raise UnreadableMedia(
            f"{path} cannot be read as a movie ({failure.strerror}): export it again"
        ) from failure
    if not frames:
        raise UnreadableMedia(f"{path} has no frames: export it again")
    return _stacked([(path, frame) for frame in frames])


def _decode_movie(path: Path, container: Any) -> list[Pixels]:
    """All frames as (H, W, 3 or 4); alpha where the pixel format has it."""
    stream = container.streams.video[0]
    _check_size(path, stream.codec_context.width, stream.codec_context.height)
    frames: list[Pixels] = []
    num_packets = 0
    for packet in container.demux(stream):
        num_packets += packet.size > 0
        frames += [movie_frame(frame) for frame in packet.decode()]
        if packet.is_corrupt:
            raise UnreadableMedia(f"{path} is damaged after frame {len(frames)}: export it again")
    if num_packets < stream.frames:
        raise UnreadableMedia(
            f"{path} is cut short: it holds {num_packets} of its {stream.frames} frames; "
            f"export it again"
        )
    return frames


def movie_frame(frame: Any) -> Pixels:
    """Give a decoded frame of PyAV as coded, (H, W, 3), or 4 where it has alpha; 8 or 16 bits."""
    is_deep = max(component.bits for component in frame.format.components) > 8
    has_alpha = any(component.is_alpha for component in frame.format.components)
    deep, shallow = ("rgba64le", "rgba") if has_alpha else ("rgb48le", "rgb24")
    codes = frame.to_ndarray(format=deep if is_deep else shallow)
    return codes.astype(np.float32) / np.float32(np.iinfo(codes.dtype).max)


def write_movie(path: Path, rgb_THWC: Pixels, fps: Fraction) -> None:
    """Write a preview movie: H.264, 8-bit, (T, H, W, 3) sRGB, no alpha, atomically.

    Raises:
        OSError: The file cannot be written; a full disk is `errno.ENOSPC`.
    """
    height, width = rgb_THWC.shape[1:3]
    options = {"movflags": "faststart"} if path.suffix.lower() in (".mp4", ".mov") else {}
    with _published(path) as draft, av.open(str(draft), "w", options=options) as container:
        stream = container.add_stream("libx264", rate=fps, options={"crf": "14"})
        stream.width, stream.height = width, height
        stream.pix_fmt = "yuv420p" if width % 2 == height % 2 == 0 else "yuv444p"
        for rgb_HWC in rgb_THWC:
            picture = np.ascontiguousarray(to_8_bit(rgb_HWC))
            container.mux(stream.encode(av.VideoFrame.from_ndarray(picture, format="rgb24")))
        container.mux(stream.encode(None))
