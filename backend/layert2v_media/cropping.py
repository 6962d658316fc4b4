"""Movies whose file asks for a part of their pictures only, which are refused."""

import io
import struct
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

from layert2v_media.containers import BOXES, EBML_START, SEGMENT, ebml_number
from layert2v_media.errors import UnreadableMedia

_PARENTS = (SEGMENT, 0x1654AE6B, 0xAE, 0xE0)
"""Elements around a crop: segment, tracks, track, video. Source: RFC 9559, 5.1."""
_CLUSTER = 0x1F43B675
_CROP_X, _CROP_Y = (0x54CC, 0x54DD), (0x54BB, 0x54AA)
"""Pixels that are cut off: left, right, top, bottom. Source: RFC 9559, 5.1.4.1.28."""
_MAX_HEADER = 1 << 26
"""Bytes of a movie's description that are looked at."""


def check_uncropped(path: Path, width: int, height: int) -> None:
    """Refuse a movie whose file asks for a part of its pictures only.

    These are the clean aperture of MP4 and MOV (ISO/IEC 14496-12, 12.1.4), and the crop of Matroska
    (RFC 9559, 5.1.4.1.28), which FFmpeg leaves to programs.

    Args:
        path: The movie.
        width: Width of its pictures as coded.
        height: Height of its pictures as coded.

    Raises:
        UnreadableMedia: It asks for a crop.
    """
    with path.open("rb") as file:
        start = file.read(8)
        file.seek(0)
        if start[4:8] in BOXES:
            shown = _aperture(_moov(file), width, height)
        elif start[:4] == EBML_START:
            shown = _cropped(file, width, height)
        else:
            return
    if shown != (width, height):
        raise UnreadableMedia(
            path,
            f"asks to show only {shown[0]} x {shown[1]} of its {width} x {height} pixels: export "
            f"it cropped",
        )


def _moov(file: BinaryIO) -> bytes:
    """Read the box that describes a movie, up to a limit; empty where there is none."""
    while len(head := file.read(8)) == 8:
        size, kind = struct.unpack(">I4s", head)
        begin = 8
        if size == 1:
            size, begin = struct.unpack(">Q", file.read(8).ljust(8, b"\0"))[0], 16
        if kind == b"moov":
            return file.read(min(size, _MAX_HEADER))
        if size < begin:
            break
        file.seek(size - begin, io.SEEK_CUR)
    return b""


def _aperture(moov: bytes, width: int, height: int) -> tuple[int, int]:
    """Find a clean aperture; the whole picture where there is none."""
    place = moov.find(struct.pack(">I4s", 40, b"clap"))
    if place < 0 or place + 40 > len(moov):
        return width, height
    across, by, down, down_by, *_ = struct.unpack_from(">8i", moov, place + 8)
    return (across // by, down // down_by) if by > 0 and down_by > 0 else (width, height)


def _cropped(file: BinaryIO, width: int, height: int) -> tuple[int, int]:
    """Take the crop of the first track that has one off a size."""
    crops = dict(_crops(file, file.seek(0, io.SEEK_END)))
    across = sum(crops.get(name, 0) for name in _CROP_X)
    down = sum(crops.get(name, 0) for name in _CROP_Y)
    return width - across, height - down


def _crops(file: BinaryIO, end: int) -> Iterator[tuple[int, int]]:
    """Walk the elements that may hold a crop, from the file's begin to its pictures."""
    file.seek(0)
    while file.tell() < end:
        kind, is_end = ebml_number(file, keep_marker=True)
        size, is_unknown = ebml_number(file, keep_marker=False)
        if is_end or kind == _CLUSTER:
            return
        if kind in _PARENTS:
            continue
        if is_unknown:
            return
        if kind in (*_CROP_X, *_CROP_Y) and size <= 8:
            yield kind, int.from_bytes(file.read(size), "big")
        else:
            file.seek(size, io.SEEK_CUR)
