"""Explains errors of a disk. Each kind of error has its own remedy.

Messages travel to clients, so they hold no paths.
"""

import errno
import os
import sqlite3
import tempfile
from pathlib import Path

from layert2v_backend.errors import (
    DiskFails,
    DiskFull,
    DiskNotWritable,
    InternalFault,
    JournalDamaged,
    Overloaded,
    Refused,
    StorageFault,
    is_scarce,
    words_of,
)

_PROBE_BYTES = 1 << 16
"""Bytes of a trial write. They do not fit into the rest of a full disk's last block."""
_UNCLEAR = ("SQLITE_IOERR", "SQLITE_READONLY", "SQLITE_CANTOPEN", "SQLITE_PERM", "SQLITE_AUTH")
"""SQLite's names for a refusing file. SQLite does not say why it refused."""


STATE_FOLDER = "the state folder"
DISK_ERRORS = frozenset(
    {
        errno.ENOSPC,
        errno.EDQUOT,
        errno.EFBIG,
        errno.EROFS,
        errno.EACCES,
        errno.EPERM,
        errno.EIO,
    }
)
"""Errors for which a disk or its permissions are to blame."""


def fault_of(failure: OSError, place: str = STATE_FOLDER) -> StorageFault:
    """Say what an error of the operating system means at a place, and what to do about it."""
    words = words_of(failure)
    if failure.errno == errno.ENOSPC:
        return DiskFull(f"the disk of {place} is full: free some space and try again")
    if failure.errno == errno.EDQUOT:
        return DiskFull(
            f"the quota on the disk of {place} is used up: free some space, or have it raised"
        )
    if failure.errno == errno.EFBIG:
        return DiskFull(
            f"a file in {place} reached the largest size that this process may write: raise that "
            f"limit (ulimit -f), or free some space if the disk imposes it"
        )
    if failure.errno == errno.EROFS:
        return DiskNotWritable(
            f"the disk of {place} is mounted read-only, which some disks become after an error: "
            f"check the system's log and mount it for writing"
        )
    if failure.errno in (errno.EACCES, errno.EPERM):
        return DiskNotWritable(
            f"{place} refuses the backend ({words}): give its user the right to read and write "
            f"there, and remove an immutable flag if one is set (lsattr)"
        )
    if failure.errno == errno.EIO:
        return DiskFails(
            f"the disk of {place} reports an error: check the disk and its connection, and keep a "
            f"copy of the state folder before you repair it"
        )
    return DiskFails(f"{place} cannot be used ({words}): repair that and try again")


def refused_of(failure: OSError) -> Refused:
    """Turn a fault of the operating system into the refusal of one call."""
    if is_scarce(failure):
        return Overloaded(f"{words_of(failure)}: try again in a moment")
    if failure.errno in DISK_ERRORS:
        return fault_of(failure)
    return InternalFault(f"the backend met a fault ({words_of(failure)}): see its log")


def fault_of_sqlite(failure: sqlite3.Error, path: Path) -> StorageFault | None:
    """Say what an error of the journal means, or give None if the disk is not to blame.

    SQLite does not tell the system's own error, so this function tests the folder. It does not open
    the journal's files, because closing them would give up SQLite's lock.
    """
    name: str = getattr(failure, "sqlite_errorname", "")
    if name == "SQLITE_FULL":
        return fault_of(OSError(errno.ENOSPC, ""))
    if name.startswith(("SQLITE_CORRUPT", "SQLITE_NOTADB")):
        return JournalDamaged(
            "the backend's journal is damaged: stop the backend, and its next start says what is "
            "safe to do. No take's file is removed"
        )
    if name.startswith(_UNCLEAR):
        return fault_of(refusal_of(path) or OSError(errno.EIO, ""))
    return None


def refusal_of(path: Path) -> OSError | None:
    """Find out why an old or new file cannot be written, or give None if it can be."""
    folder = path.parent
    try:
        if hasattr(os, "statvfs") and os.statvfs(folder).f_flag & os.ST_RDONLY:
            return OSError(errno.EROFS, os.strerror(errno.EROFS))
        files = (path, path.with_name(f"{path.name}-wal"))
        if any(file.exists() and not os.access(file, os.W_OK) for file in files):
            return OSError(errno.EPERM, os.strerror(errno.EPERM))
        with tempfile.TemporaryFile(dir=folder) as probe:
            probe.write(bytes(_PROBE_BYTES))
            probe.flush()
            os.fsync(probe.fileno())
    except OSError as failure:
        return failure
    return None


def damaged_journal(path: Path, failure: Exception) -> str:
    """Say that the journal is damaged, and how to go on without losing a take."""
    return (
        f"the journal {path} is damaged ({failure}). The files of all takes are still in "
        f"{path.parent / 'artifacts'}. Either restore {path.name} and {path.name}-wal together "
        f"from a backup, or move both to another folder and begin with an empty journal. Neither "
        f"removes a take's files, but an empty journal does not list the old takes"
    )
