import errno
import sqlite3
from pathlib import Path

import pytest

from layert2v_backend import faults
from layert2v_backend.errors import (
    DiskFails,
    DiskFull,
    DiskNotWritable,
    JournalDamaged,
    StorageFault,
)
from layert2v_backend.faults import fault_of, fault_of_sqlite, refusal_of
from layert2v_backend.journal import Journal
from support.journal_entries import SHOT


@pytest.mark.parametrize(
    ("number", "kind", "words"),
    [
        (errno.ENOSPC, DiskFull, "free some space"),
        (errno.EDQUOT, DiskFull, "quota"),
        (errno.EFBIG, DiskFull, "ulimit -f"),
        (errno.EROFS, DiskNotWritable, "mount it for writing"),
        (errno.EACCES, DiskNotWritable, "give its user the right"),
        (errno.EPERM, DiskNotWritable, "immutable flag"),
        (errno.EIO, DiskFails, "check the disk"),
        (errno.EISDIR, DiskFails, "it is a folder"),
    ],
)
def test_each_error_of_a_disk_has_its_own_remedy(
    number: int, kind: type[StorageFault], words: str
) -> None:
    fault = fault_of(OSError(number, "no"))

    assert type(fault) is kind
    assert words in fault.message
    assert ("full" in fault.message) == (number == errno.ENOSPC)


def refused_write(folder: Path) -> sqlite3.Error:
    """The error of a journal that really cannot be written."""
    database = sqlite3.connect(folder / "journal.sqlite3", isolation_level=None)
    database.execute("PRAGMA query_only = ON")
    with pytest.raises(sqlite3.Error) as caught:
        database.execute("CREATE TABLE a (b)")
    database.close()
    return caught.value


@pytest.mark.parametrize(
    ("number", "kind"),
    [
        (errno.ENOSPC, DiskFull),
        (errno.EDQUOT, DiskFull),
        (errno.EROFS, DiskNotWritable),
        (errno.EPERM, DiskNotWritable),
        (errno.EIO, DiskFails),
        (None, DiskFails),
    ],
)
def test_a_journal_that_refuses_is_told_as_its_folder_says(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    number: int | None,
    kind: type[StorageFault],
) -> None:
    found = OSError(number, "no") if number else None
    monkeypatch.setattr(faults, "refusal_of", lambda path: found)

    fault = fault_of_sqlite(refused_write(tmp_path), tmp_path / "journal.sqlite3")

    assert type(fault) is kind


def test_a_file_that_may_not_be_written_is_found(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "journal.sqlite3"
    path.touch()
    assert refusal_of(path) is None

    # What the system answers for an immutable file, to root too.
    monkeypatch.setattr(faults.os, "access", lambda file, mode: False)

    refusal = refusal_of(path)
    assert refusal is not None
    assert refusal.errno == errno.EPERM
    assert list(tmp_path.iterdir()) == [path]


def test_asking_why_does_not_give_up_the_journals_lock(tmp_path: Path) -> None:
    path = tmp_path / "journal.sqlite3"
    journal = Journal(path)

    refusal_of(path)

    other = sqlite3.connect(path, timeout=0)
    with pytest.raises(sqlite3.OperationalError, match="locked"):
        other.execute("SELECT * FROM job")
    other.close()
    journal.close()


def test_a_read_only_journal_does_not_say_that_the_disk_is_full(tmp_path: Path) -> None:
    journal = Journal(tmp_path / "journal.sqlite3")
    journal._db.execute("PRAGMA query_only = ON")

    with pytest.raises(StorageFault) as caught:
        journal.create(SHOT, "hash", 1.0)

    assert not isinstance(caught.value, DiskFull)
    assert str(tmp_path) not in caught.value.message


def test_a_journal_that_is_damaged_while_it_is_used_says_so(tmp_path: Path) -> None:
    path = tmp_path / "journal.sqlite3"
    database = sqlite3.connect(path, isolation_level=None)
    database.executescript("CREATE TABLE a (b); INSERT INTO a VALUES (zeroblob(100000));")
    database.close()
    content = bytearray(path.read_bytes())
    content[4096:] = b"\xff" * (len(content) - 4096)
    path.write_bytes(content)
    database = sqlite3.connect(path)
    with pytest.raises(sqlite3.DatabaseError) as caught:
        database.execute("SELECT * FROM a").fetchall()
    database.close()

    assert isinstance(fault_of_sqlite(caught.value, path), JournalDamaged)


def test_errors_of_ours_are_not_blamed_on_the_disk(tmp_path: Path) -> None:
    assert fault_of_sqlite(sqlite3.IntegrityError("twice"), tmp_path / "journal.sqlite3") is None
