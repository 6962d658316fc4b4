"""Whether a movie's file is whole, by the sizes that its boxes promise.

Counting frames against a header is no test: sound may be longer, rates vary, edit lists hide some.
"""

import io
import struct
from pathlib import Path
from typing import BinaryIO

from layert2v_media.errors import UnreadableMedia

BOXES = (b"ftyp", b"moov", b"mdat", b"moof", b"wide", b"free", b"skip", b"uuid", b"sidx", b"mfra")
"""Kinds of boxes that a file of MP4 or MOV holds."""
EBML_START = b"\x1a\x45\xdf\xa3"
SEGMENT = 0x18538067
_EBML = 0x1A45DFA3


def check_whole(path: Path) -> None:
    """Refuse a movie that ends before its boxes do. Bytes behind them are no fault.

    Boxes are those of MP4 and MOV (ISO/IEC 14496-12, 4.2), Matroska (RFC 8794, 9) and AVI (RIFF).

    Raises:
        UnreadableMedia: It is cut short, or empty.
    """
    held = path.stat().st_size
    if held == 0:
        raise UnreadableMedia(path, "is empty; copy or export it again")
    with path.open("rb") as file:
        start = file.read(12)
        file.seek(0)
        if start[4:8] in BOXES:
            promised = _end_of_boxes(file, held)
        elif start[:4] == EBML_START:
            promised = _end_of_segment(file)
        elif start[:4] == b"RIFF":
            promised = struct.unpack("<I", start[4:8].ljust(4, b"\0"))[0] + 8
        else:
            return
    if promised > held:
        reason = f"is cut short: it holds {held} of {promised} bytes; copy or export it again"
        raise UnreadableMedia(path, reason)


def _end_of_boxes(file: BinaryIO, held: int) -> int:
    """Give where the last known box ends."""
    end = 0
    while len(head := file.read(8)) == 8:
        size, kind = struct.unpack(">I4s", head)
        if kind not in BOXES:
            break
        if size == 1:
            size = struct.unpack(">Q", file.read(8).ljust(8, b"\0"))[0]
        if size < 8:  # 0: to the end of the file
            break
        end += size
        if end > held:
            break
        file.seek(end)
    return end


def _end_of_segment(file: BinaryIO) -> int:
    """Give where Matroska's segment ends; 0 where it does not say."""
    while True:
        kind, _ = ebml_number(file, keep_marker=True)
        size, is_unknown = ebml_number(file, keep_marker=False)
        if kind not in (_EBML, SEGMENT) or is_unknown:
            return 0
        if kind == SEGMENT:
            return file.tell() + size
        file.seek(size, io.SEEK_CUR)


def ebml_number(file: BinaryIO, *, keep_marker: bool) -> tuple[int, bool]:
    """Read a number of variable length, and whether all of its bits are set: unknown."""
    first = file.read(1)
    if not first or first[0] == 0:
        return 0, True
    length = 9 - first[0].bit_length()
    value = int.from_bytes(first + file.read(length - 1), "big")
    mask = (1 << (7 * length)) - 1
    return (value if keep_marker else value & mask), value & mask == mask
