"""The encoding of a text: UTF-8, with or without a mark; others are told apart and named."""

from codecs import BOM_UTF8, BOM_UTF16_BE, BOM_UTF16_LE
from pathlib import Path

from layert2v_training.data.problems import BadClip, reading

_MAX_TEXT, _MAX_LIST = 1 << 20, 1 << 28
"""Bytes of a text beside a clip, and of a list of clips."""
_LOOKED_AT = 4096
"""Bytes in which null bytes are counted."""


def read_text(path: Path) -> str:
    """Read a text that lies beside footage.

    Raises:
        BadClip: It cannot be read, is too long, or is no UTF-8. It says what it seems to be.
    """
    content = _bytes_of(path, _MAX_TEXT)
    _check_wide(path, content, "is not a text, because it holds null bytes; name a text file")
    return decoded_text(path, content)


def read_list(path: Path) -> bytes:
    """Read a list of clips as UTF-8 without its mark. `decoded_text` decodes each line.

    Raises:
        BadClip: It cannot be read, is too long, is UTF-16 or no text.
    """
    content = _bytes_of(path, _MAX_LIST)
    _check_wide(path, content, "is neither a folder of clips nor a .jsonl file; name one of these")
    return content.removeprefix(BOM_UTF8)


def decoded_text(path: Path, content: bytes) -> str:
    """Decode a text or a line.

    Args:
        path: File to name in a message.
        content: Its bytes.

    Raises:
        BadClip: It is no UTF-8.
    """
    try:
        return content.removeprefix(BOM_UTF8).decode()
    except UnicodeDecodeError as failure:
        seems = "; it seems to be Windows-1252" if _is_windows(content) else ""
        where = f"is not UTF-8 at byte {failure.start}{seems}: save it as UTF-8"
        raise BadClip(path, where) from failure


def _bytes_of(path: Path, most: int) -> bytes:
    with reading(path), path.open("rb") as file:
        content = file.read(most + 1)
    if len(content) > most:
        raise BadClip(path, f"is longer than {most} bytes; is it a text? Name another file")
    return content


def _check_wide(path: Path, content: bytes, otherwise: str) -> None:
    """Refuse UTF-16, with its mark or by the null bytes of its letters, and what is no text."""
    if content.startswith((BOM_UTF16_LE, BOM_UTF16_BE)) and len(content) % 2 == 0:
        raise BadClip(path, "is UTF-16 (Notepad calls it Unicode); save it as UTF-8")
    start = content[:_LOOKED_AT]
    if b"\0" not in start:
        return
    even, odd = start[::2].count(0), start[1::2].count(0)
    if max(even, odd) > len(start) / 8 and min(even, odd) == 0:
        raise BadClip(path, "is UTF-16 without a mark; save it as UTF-8")
    raise BadClip(path, otherwise)


def _is_windows(content: bytes) -> bool:
    """Tell whether all bytes are letters of Windows-1252 that are printed."""
    try:
        text = content.decode("cp1252")
    except UnicodeDecodeError:
        return False
    return all(letter.isprintable() or letter in "\r\n\t\xa0\xad" for letter in text)
