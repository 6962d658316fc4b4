"""Opens the journal's file for one process and brings it up to date. Moving it loses nothing."""

import sqlite3
from pathlib import Path

import structlog

from layert2v_backend.errors import CannotServe
from layert2v_backend.faults import damaged_journal, fault_of, fault_of_sqlite
from layert2v_backend.journal_log import keep_foreign_log, mark_opening
from layert2v_backend.journal_rows import MIGRATIONS

_LOCK_WAIT_S = 1.0
"""Seconds to wait for a backend that is just leaving the state folder."""

log = structlog.get_logger()


def open_journal(path: Path) -> sqlite3.Connection:
    """Open or create the journal and lock it for this process.

    Raises:
        CannotServe: Another backend has the journal, it is damaged, a newer version wrote it, or
            the disk refuses it.
    """
    keep_foreign_log(path)
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
    # Damaged text damages its row, but must not fail every query that meets it.
    database.text_factory = lambda data: data.decode("utf-8", "replace")
    database.execute("PRAGMA locking_mode = EXCLUSIVE")
    database.execute("PRAGMA journal_mode = WAL")
    database.execute("PRAGMA synchronous = FULL")
    database.execute("PRAGMA foreign_keys = ON")
    version = _claim(database, path)
    _mark(database, path)
    for number, script in enumerate(MIGRATIONS[version:], start=version + 1):
        database.executescript(f"BEGIN; {script} PRAGMA user_version = {number}; COMMIT;")


def _mark(database: sqlite3.Connection, path: Path) -> None:
    """Give the journal its new id. If the disk refuses that, the journal can still be read."""
    try:
        mark_opening(database, path)
    except OSError as failure:
        log.warning("journal_not_marked", why=fault_of(failure).message)
    except sqlite3.OperationalError as failure:
        fault = fault_of_sqlite(failure, path)
        if fault is None:
            raise
        log.warning("journal_not_marked", why=fault.message)


def _claim(database: sqlite3.Connection, path: Path) -> int:
    """Lock the journal for this process and give its version."""
    (version,) = database.execute("PRAGMA user_version").fetchone()
    if version > len(MIGRATIONS):
        raise CannotServe(
            f"the journal {path} has version {version}, but this backend knows {len(MIGRATIONS)}: "
            f"install a newer layert2v or name another folder with --state"
        )
    database.execute("BEGIN EXCLUSIVE")
    database.execute("COMMIT")
    return int(version)


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
