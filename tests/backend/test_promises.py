from pathlib import Path

from layert2v_backend.journal import Journal
from layert2v_backend.promises import Promises


def test_a_promised_cancel_of_a_job_that_is_none_is_dropped(tmp_path: Path) -> None:
    kept: list[str] = []
    journal = Journal(tmp_path / "journal.sqlite3")
    promises = Promises(journal, 3, kept.append)
    promises.remember("0" * 16)

    promises.keep()

    assert kept == ["0" * 16]
    journal.close()
