"""Opening a journal on a disk that refuses something, or beside files that are not its own."""

import errno
import sqlite3
from pathlib import Path

import pytest
from structlog.testing import capture_logs

from layert2v_backend import journal_files
from layert2v_backend.errors import CannotServe
from layert2v_backend.journal import Journal
from layert2v_domain.job import JobState
from support.journal_entries import SHOT


def test_a_journal_that_cannot_be_marked_is_opened_all_the_same(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(journal_files, "mark_opening", refuse)

    with capture_logs() as logs:
        journal = Journal(tmp_path / "journal.sqlite3")

    assert [entry["event"] for entry in logs] == ["journal_not_marked"]
    assert "full" in logs[0]["why"]
    assert journal.create(SHOT, "hash", 1.0)


def test_a_refusal_that_is_no_fault_of_the_disk_is_said_with_the_databases_words(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def ask_wrongly(database: sqlite3.Connection, _: Path) -> None:
        database.execute("SELECT a FROM nowhere")

    monkeypatch.setattr(journal_files, "mark_opening", ask_wrongly)

    with pytest.raises(CannotServe, match="no such table: nowhere"):
        Journal(tmp_path / "journal.sqlite3")


def test_a_damaged_journal_beside_a_log_is_called_damaged_and_stays(tmp_path: Path) -> None:
    path = tmp_path / "journal.sqlite3"
    path.write_bytes(b"no journal" * 1000)
    (tmp_path / "journal.sqlite3-wal").write_bytes(b"no log" * 1000)

    with pytest.raises(CannotServe, match="damaged"):
        Journal(path)

    assert path.read_bytes() == b"no journal" * 1000


def test_a_foreign_log_that_cannot_be_moved_stops_the_start(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object) -> None:
        raise PermissionError(errno.EACCES, "Permission denied")

    (tmp_path / "journal.sqlite3-wal").write_bytes(b"another journal's log")
    monkeypatch.setattr(Path, "rename", refuse)

    with pytest.raises(CannotServe, match=r"cannot be moved .*Permission denied"):
        Journal(tmp_path / "journal.sqlite3")


def test_a_cancelled_job_of_a_stopping_backend_ends_cancelled(tmp_path: Path) -> None:
    journal = Journal(tmp_path / "journal.sqlite3")
    journal.create(SHOT, "hash", 1.0)
    job = journal.begin_next(2.0)
    assert job is not None

    journal.put_back(journal.cancel(job.id, 3.0), 4.0)

    assert journal.get(job.id).state is JobState.CANCELLED
