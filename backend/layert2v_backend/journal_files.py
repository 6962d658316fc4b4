"""The journal's file: opened for one process, brought up to date, and never lost by being moved."""

import itertools
import sqlite3
import time
from pathlib import Path

import structlog

from layert2v_backend.errors import CannotServe
from layert2v_backend.faults import damaged_journal, fault_of_sqlite
from layert2v_backend.journal_rows import MIGRATIONS

_LOCK_WAIT_S = 1.0
"""How long to wait for a backend that is just leaving the state folder."""

log = structlog.get_logger()


def open_journal(path: Path) -> sqlite3.Connection:
    """Open or create the journal and take it for this process.

    Raises:
        CannotServe: Another backend has it, it is damaged, or written by a newer version; or the
            disk refuses it.
    """
    _keep_orphans(path)
    try:
        database = sqlite3.connect(
            path, timeout=_LOCK_WAIT_S, isolation_level=None, check_same_thread=False
        )
        try:
            _prepare(database, path)
        except (sqlite3.DatabaseError, CannotServe):
            database.close()
            raise
    except sqlite3.DatabaseError as failure:
        raise CannotServe(_opening_failure(path, failure)) from failure
    return database


def _prepare(database: sqlite3.Connection, path: Path) -> None:
    # Text that is damaged is a damaged row, not an error of every query that meets it.
    database.text_factory = lambda data: data.decode("utf-8", "replace")
    database.execute("PRAGMA locking_mode = EXCLUSIVE")
    database.execute("PRAGMA journal_mode = WAL")
    database.execute("PRAGMA synchronous = FULL")
    database.execute("PRAGMA foreign_keys = ON")
    _migrate(database, path)


def _keep_orphans(path: Path) -> None:
    """Put the log of a journal that was moved away aside: SQLite would delete it.

    It holds the latest jobs of that journal, so a restored journal needs it.

    Raises:
        CannotServe: It cannot be renamed.
    """
    orphan = path.with_name(f"{path.name}-wal")
    if path.exists() or not orphan.exists():
        return
    kept = _unused(path.with_name(f"{path.name}-wal.{time.strftime('%Y-%m-%d-%H%M%S')}"))
    try:
        orphan.rename(kept)
    except OSError as failure:
        raise CannotServe(
            f"{orphan} belongs to a journal that is gone and cannot be moved ({failure}): move it "
            f"to where that journal is"
        ) from failure
    log.warning("journal_log_kept", file=str(kept), why="its journal was moved away")


def _unused(path: Path) -> Path:
    """Add a number to a name that is taken."""
    numbered = (path.with_name(f"{path.name}-{number}") for number in itertools.count(2))
    return next(found for found in itertools.chain([path], numbered) if not found.exists())


def _migrate(database: sqlite3.Connection, path: Path) -> None:
    (version,) = database.execute("PRAGMA user_version").fetchone()
    if version > len(MIGRATIONS):
        raise CannotServe(
            f"the journal {path} has version {version}, this backend knows {len(MIGRATIONS)}: "
            f"install a newer layert2v or name another folder with --state"
        )
    database.execute("BEGIN EXCLUSIVE")
    database.execute("COMMIT")
    for number, script in enumerate(MIGRATIONS[version:], start=version + 1):
        database.executescript(f"BEGIN; {script} PRAGMA user_version = {number}; COMMIT;")


def _opening_failure(path: Path, failure: sqlite3.DatabaseError) -> str:
    name = failure.sqlite_errorname
    if name.startswith("SQLITE_BUSY"):
        return (
            f"another backend already uses the state folder {path.parent}: "
            f"stop it or name another folder with --state"
        )
    if name.startswith(("SQLITE_NOTADB", "SQLITE_CORRUPT")):
        return damaged_journal(path, failure)
    fault = fault_of_sqlite(failure, path)
    if fault is None:
        return f"the journal {path} cannot be opened ({failure}): check the folder and its disk"
    return f"the journal {path} cannot be opened because {fault.message}"
