"""The kind of a file by its first bytes, for the refusal of a file that its name belies."""

from pathlib import Path

from layert2v_model.errors import InvalidCheckpoint, reason_of

_HEADS = (
    (b"version https://git-lfs", "it is a pointer of Git LFS, run git lfs pull"),
    (b"<!doctype html", "it is a web page, so the download failed"),
    (b"<html", "it is a web page, so the download failed"),
    (b"gguf", "it is a GGUF file, whose weights are rounded"),
    (b"\x89hdf", "it is an HDF5 file"),
    (b"\x1f\x8b", "it is compressed by gzip"),
)
_MAX_WORDS = 200
"""Characters of a library's own words. More is left out at the end of a word."""


def what_it_is(path: Path) -> str:
    """Name a file by its first bytes; empty where they tell nothing."""
    try:
        with path.open("rb") as file:
            head = file.read(64)
    except OSError:
        return ""
    if not head:
        return "it is empty"
    begin = head.lstrip().lower()
    return next((words for mark, words in _HEADS if begin.startswith(mark)), "")


def unreadable(path: Path, reason: object) -> InvalidCheckpoint:
    """Make the refusal of a file.

    Args:
        path: The file.
        reason: Exception, or words. A library's words are cut at the end of one.
    """
    words = in_short(reason_of(reason, path))
    return InvalidCheckpoint(f"{path} cannot be read ({words}); fetch or copy it again")


def in_short(words: str) -> str:
    """Put a library's words on one line, cut at the end of a word where they are many."""
    line = " ".join(words.split())
    return line if len(line) <= _MAX_WORDS else f"{line[:_MAX_WORDS].rsplit(' ', 1)[0]} …"
