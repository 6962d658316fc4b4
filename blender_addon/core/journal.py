# SPDX-License-Identifier: GPL-3.0-or-later
"""The job journal: JSON lines beside the media, written before anything is sent.

Every line is a whole record; the last line of a request counts. Undo never touches it. One
thread writes: the session's.
"""

import json
import os
from pathlib import Path

from .paths import JOURNAL_NAME
from .records import JobRecord

MOST_LINES = 1000
"""A journal longer than this, and four times its records, is rewritten when it is read."""


class Journal:
    """The records of one media folder."""

    @classmethod
    def of_media(cls, folder: Path) -> "Journal":
        """Give the journal of a media root."""
        return cls(folder / JOURNAL_NAME)

    def __init__(self, path: Path):
        self.path = path

    @property
    def folder(self) -> Path:
        """The media root."""
        return self.path.parent

    def append(self, record: JobRecord) -> None:
        """Write a record, durable when this returns."""
        self.folder.mkdir(parents=True, exist_ok=True)
        with self.path.open("ab+") as file:
            torn = file.tell() > 0 and not self._ends_with_newline(file)
            line = json.dumps(record.to_json(), ensure_ascii=True, separators=(",", ":"))
            file.write(b"\n" * torn + line.encode() + b"\n")
            file.flush()
            os.fsync(file.fileno())

    @staticmethod
    def _ends_with_newline(file: object) -> bool:
        seek, read = file.seek, file.read  # type: ignore[attr-defined]
        seek(-1, os.SEEK_END)
        return bool(read(1) == b"\n")

    def records(self) -> dict[str, JobRecord]:
        """Read the last record of every request, oldest request first.

        Lines that cannot be read, as a crash in the middle of writing leaves, are passed over.
        """
        if not self.path.exists():
            return {}
        lines = self.path.read_bytes().splitlines()
        records: dict[str, JobRecord] = {}
        for line in lines:
            record = _record_or_none(line)
            if record is not None:
                records[record.request_id] = record
        if len(lines) > MOST_LINES and len(lines) > 4 * len(records):
            self._rewrite(records)
        return records

    def _rewrite(self, records: dict[str, JobRecord]) -> None:
        draft = Journal(self.path.with_suffix(".draft"))
        draft.path.unlink(missing_ok=True)
        for record in records.values():
            draft.append(record)
        os.replace(draft.path, self.path)


def _record_or_none(line: bytes) -> JobRecord | None:
    try:
        return JobRecord.from_json(json.loads(line))
    except (ValueError, KeyError, TypeError, AttributeError):
        return None
