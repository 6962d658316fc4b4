"""Decides whether the log (`-wal`) beside a journal is that journal's own.

SQLite replays any log that it finds. If a journal was moved away and put back beside its
successor's log, pages of another file would overwrite it. The same would happen to a backup beside
a later log. Each opening therefore gives the journal a new id in SQLite's own header
(`application_id`, bytes 68 to 71, https://www.sqlite.org/fileformat2.html). A file beside the two
names that id. A log belongs to the named journal. If the header's id differs, the log is put aside.
"""

import itertools
import os
import secrets
import sqlite3
import time
from pathlib import Path

import structlog

from layert2v_backend.errors import CannotServe
from layert2v_model.files.durable import write_text_durably

_MAGIC = b"SQLite format 3\0"
_ID_BYTES = slice(68, 72)

log = structlog.get_logger()


def keep_foreign_log(path: Path) -> None:
    """Put a log aside that does not belong to the journal at `path`. Its own jobs may need it.

    Raises:
        CannotServe: The log cannot be renamed, or the files cannot be read.
    """
    own_log = _log_of(path)
    try:
        if not own_log.exists() or not own_log.stat().st_size:
            return
        if path.exists() and not _is_foreign(path, own_log):
            return
        kept = _unused(path.with_name(f"{own_log.name}.{time.strftime('%Y-%m-%d-%H%M%S')}"))
        own_log.rename(kept)
    except OSError as failure:
        raise CannotServe(
            f"{own_log} belongs to another journal and cannot be moved ({failure}): move it to "
            "that journal's folder"
        ) from failure
    log.warning("journal_log_kept", file=str(kept), why="it belongs to another journal")


def mark_opening(database: sqlite3.Connection, path: Path) -> None:
    """Give an open journal a new id, in its header and in the file beside it.

    The file names the header's id at any point at which this may be interrupted.

    Raises:
        OSError: The file cannot be written.
        sqlite3.DatabaseError: The journal cannot be written.
    """
    (former,) = database.execute("PRAGMA application_id").fetchone()
    new = secrets.randbelow(2**31 - 1) + 1
    database.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    _write_ids(path, {former, new})
    database.execute(f"PRAGMA application_id = {new}")
    database.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    _write_ids(path, {new})


def _is_foreign(path: Path, own_log: Path) -> bool:
    id_file = _id_file_of(path)
    header = _header_id(path)
    if header is None or not id_file.exists() or header in _read_ids(id_file):
        return False
    named, journal, wal = (os.stat(file).st_mtime_ns for file in (id_file, path, own_log))
    is_older_than_the_name = wal < named
    is_restored_with_its_journal = named <= journal <= wal
    return not (is_older_than_the_name or is_restored_with_its_journal)


def _header_id(path: Path) -> int | None:
    with path.open("rb") as file:
        header = file.read(_ID_BYTES.stop)
    if not header.startswith(_MAGIC) or len(header) < _ID_BYTES.stop:
        return None  # A damaged journal is reported when it is opened.
    return int.from_bytes(header[_ID_BYTES], "big")


def _read_ids(id_file: Path) -> set[int]:
    words = id_file.read_text(encoding="utf-8", errors="replace").split()
    return {int(word) for word in words if word.isdecimal()}


def _write_ids(path: Path, ids: set[int]) -> None:
    write_text_durably(_id_file_of(path), "\n".join(str(each) for each in sorted(ids)) + "\n")


def _id_file_of(path: Path) -> Path:
    return path.with_name(f"{path.name}-id")


def _log_of(path: Path) -> Path:
    return path.with_name(f"{path.name}-wal")


def _unused(path: Path) -> Path:
    """Add a number to a name if it already exists."""
    numbered = (path.with_name(f"{path.name}-{number}") for number in itertools.count(2))
    return next(found for found in itertools.chain([path], numbered) if not found.exists())
