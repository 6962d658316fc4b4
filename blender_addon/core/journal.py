# SPDX-License-Identifier: GPL-3.0-or-later
"""The job journal. It holds JSON lines beside the media, written before anything is sent.

Each process appends to a file of its own, because locks fail on network drives. Readers merge
all files of the folder. Every line is a whole record, and `records.latest` chooses among them.
Undo never touches it.
"""

import json
import logging
import os
import threading
import uuid
from collections.abc import Iterable
from pathlib import Path

from .paths import JOURNAL_PREFIX, JOURNAL_SUFFIX
from .records import JobRecord, latest

MOST_LINES = 1000
"""Number of lines above which our file is rewritten, if it exceeds four times its requests."""
PROCESS = uuid.uuid4().hex[:12]
"""Id of this process, in the names of its journal file and of its fetch folders."""

_log = logging.getLogger(__name__)
_writing = threading.Lock()
"""Lock on the file of this process, which its sessions share."""


class Journal:
    """The records of one media folder. Each process writes its own file and reads all files."""

    def __init__(self, folder: Path, process: str = PROCESS):
        self.folder = folder
        """The media root."""
        self.path = folder / f"{JOURNAL_PREFIX}{process}{JOURNAL_SUFFIX}"
        """The file that this process alone writes."""
        self._num_lines = -1

    @classmethod
    def of_media(cls, folder: Path) -> "Journal":
        """Give the journal of a media root."""
        return cls(folder)

    @property
    def exists(self) -> bool:
        """Whether any process has written here."""
        return bool(self._paths())

    def append(self, record: JobRecord) -> None:
        """Write a record. It is durable when this method returns.

        Raises:
            OSError: The folder cannot be written.
        """
        with _writing:
            self.folder.mkdir(parents=True, exist_ok=True)
            _append(self.path, [record])
            if self._is_long():
                self._rewrite()

    def records(self) -> dict[str, JobRecord]:
        """Read the latest record of every request, oldest request first. Write nothing.

        Unreadable lines are skipped. A crash in the middle of writing leaves such lines.
        """
        merged: dict[str, JobRecord] = {}
        for path in self._paths():
            for record in _read(path):
                known = merged.get(record.request_id)
                merged[record.request_id] = latest(known, record) if known else record
        return dict(sorted(merged.items(), key=lambda item: item[1].asked_at))

    def _paths(self) -> list[Path]:
        pattern = f"{JOURNAL_PREFIX[:-1]}*{JOURNAL_SUFFIX}"
        try:
            found = list(self.folder.glob(pattern))
        except OSError as error:
            _tell_unreadable(self.folder, error)
            return []
        return sorted(found, key=lambda path: (_written_at(path), path.name))

    def _is_long(self) -> bool:
        if self._num_lines < 0:
            self._num_lines = len(self.path.read_bytes().splitlines())
        else:
            self._num_lines += 1
        return self._num_lines > MOST_LINES

    def _rewrite(self) -> None:
        """Shorten our own file to the latest record of each request."""
        records, kept = _read(self.path), dict[str, JobRecord]()
        self._num_lines = len(records)
        for record in records:
            known = kept.get(record.request_id)
            kept[record.request_id] = latest(known, record) if known else record
        if len(records) <= 4 * len(kept):
            return
        draft = self.path.with_suffix(".draft")
        draft.unlink(missing_ok=True)
        _append(draft, list(kept.values()))
        os.replace(draft, self.path)
        self._num_lines = len(kept)


def merged(journals: Iterable[Journal]) -> dict[str, tuple[JobRecord, Journal]]:
    """Read several journals that may hold the same requests, as they do after a first save.

    Give the latest record of every request, and the journal that has it.
    """
    found: dict[str, tuple[JobRecord, Journal]] = {}
    for journal in journals:
        for request_id, record in journal.records().items():
            if request_id not in found:
                found[request_id] = record, journal
                continue
            known, known_journal = found[request_id]
            is_later = record.revision >= known.revision
            found[request_id] = latest(known, record), journal if is_later else known_journal
    return found


def _append(path: Path, records: list[JobRecord]) -> None:
    lines = [
        json.dumps(record.to_json(), ensure_ascii=True, separators=(",", ":")) for record in records
    ]
    with path.open("ab+") as file:
        is_torn = file.tell() > 0 and not _ends_with_newline(file)
        file.write(b"\n" * is_torn + "\n".join(lines).encode() + b"\n")
        file.flush()
        os.fsync(file.fileno())


def _ends_with_newline(file: object) -> bool:
    seek, read = file.seek, file.read  # type: ignore[attr-defined]
    seek(-1, os.SEEK_END)
    return bool(read(1) == b"\n")


def _read(path: Path) -> list[JobRecord]:
    """Read a file's records. An unreadable or missing file has none."""
    try:
        lines = path.read_bytes().splitlines()
    except OSError as error:
        _tell_unreadable(path, error)
        return []
    found = (_record_or_none(line) for line in lines)
    return [record for record in found if record is not None]


def _tell_unreadable(path: Path, error: OSError) -> None:
    _log.warning("%s cannot be read (%s): its jobs are not resumed", path, error.strerror)


def _written_at(path: Path) -> float:
    try:
        return path.stat().st_mtime
    except OSError:
        return 0.0


def _record_or_none(line: bytes) -> JobRecord | None:
    try:
        return JobRecord.from_json(json.loads(line))
    except (ValueError, KeyError, TypeError, AttributeError):
        return None
