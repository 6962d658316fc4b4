"""Files known by their SHA-256: written once, never changed, checked when read.

A file is synced under `tmp` and renamed to `sha256/ab/abcdef...`. Its folder is synced before
anything refers to it, so every reference has its file. A file without a reference may still belong
to an artist whose journal was moved away. So only files that `unfinished` names can be garbage.
They come from publications that the journal never confirmed. Even they go to a dated trash.
"""

import hashlib
import json
import os
import re
import shutil
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import structlog

from layert2v_backend.checksums import read_digests
from layert2v_backend.errors import DataLoss
from layert2v_backend.faults import fault_of
from layert2v_backend.pairing import Pair
from layert2v_model.files.durable import sync_file, sync_folder, write_text_durably

SYNCS_AT_ONCE = 8
"""Parallel syncs share the disk's commits: 0.4 ms a file, 3.7 one by one (ext4, November 2026)."""
_DRAFTS = re.compile(r"[a-z0-9-]+-\d+")
"""Names of draft folders: job and attempt."""
_SHA256 = re.compile(r"[0-9a-f]{64}")

log = structlog.get_logger()


@dataclass(frozen=True)
class Sealed:
    """A draft that is complete and durable."""

    path: Path
    """Path of the file."""
    sha256: str
    """The SHA-256 as 64 lower-case hexadecimal digits."""
    size_bytes: int
    """Length."""
    checksums: str
    """Checksums of its blocks. See `checksums.sums_at`."""


@dataclass(frozen=True)
class Unfinished:
    """A publication that the journal has not confirmed."""

    record: Path
    """The file that records the publication."""
    pair_id: str
    """Id of the pair of journal and store at that time. It is empty if they had not met."""
    sha256s: tuple[str, ...]
    """Files that it brought into the store first."""


class ArtifactStore:
    """A content-addressed folder that several processes may use at once."""

    def __init__(self, root: Path) -> None:
        """Open or create the store at `root`."""
        self.root = root
        self._tmp = root / "tmp"
        self._files = root / "sha256"
        self._unfinished = root / "unfinished"
        self._pair = root / "pair.json"
        for folder in (self._tmp, self._files, self._unfinished):
            folder.mkdir(parents=True, exist_ok=True)

    def path(self, sha256: str) -> Path:
        """Give the path that the file with this hash has, or would have."""
        return self._files / sha256[:2] / sha256

    def draft_folder(self, job: str, attempt: int) -> Path:
        """Make the empty folder in which an attempt writes, on the store's own disk."""
        folder = self._tmp / f"{job}-{attempt}"
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(parents=True)
        return folder

    def drop_drafts(self) -> None:
        """Remove all half-written files. Call it only while no attempt is running.

        Only folders that `draft_folder` made are removed.
        """
        for folder in self._tmp.iterdir():
            if _DRAFTS.fullmatch(folder.name) and folder.is_dir():
                shutil.rmtree(folder, ignore_errors=True)

    def seal(self, path: Path) -> Sealed:
        """Hash a finished draft and make it durable, so that it can be adopted at once.

        Raises:
            OSError: It could not be synced. A full disk gives `errno.ENOSPC`.
        """
        with path.open("rb") as file:
            sha256, checksums = read_digests(file)
            size_bytes = os.fstat(file.fileno()).st_size
        sync_file(path)
        return Sealed(path, sha256, size_bytes, checksums)

    def adopt(self, drafts: Sequence[Sealed]) -> None:
        """Move an attempt's sealed drafts into the store, where all are durable.

        They stay `unfinished` until `settle`.

        Raises:
            OSError: A file could not be moved.
        """
        if not drafts:
            return
        self._note_unfinished(drafts)
        for draft in drafts:
            target = self.path(draft.sha256)
            target.parent.mkdir(exist_ok=True)
            if target.exists():
                # Windows cannot replace a read-only file, and replacing heals a damaged one.
                target.chmod(0o644)
            os.replace(draft.path, target)
            target.chmod(0o444)
        for folder in {self.path(draft.sha256).parent for draft in drafts}:
            sync_folder(folder)
        sync_folder(self._files)

    def _note_unfinished(self, drafts: Sequence[Sealed]) -> None:
        new = {draft.sha256 for draft in drafts if not self.path(draft.sha256).exists()}
        attempt = drafts[0].path.relative_to(self._tmp).parts[0]
        pair = self.pair()
        record = {"pair": pair.id if pair else "", "sha256": sorted(new)}
        write_text_durably(self._unfinished / f"{attempt}.json", json.dumps(record))

    def settle(self, job: str, attempt: int, pair: Pair | None) -> None:
        """Record that the journal, which is now at `pair`, has an attempt's files.

        Raises:
            OSError: It could not be written. The store then counts fewer takes than it has.
        """
        if pair is not None:
            self.set_pair(pair)
        (self._unfinished / f"{job}-{attempt}.json").unlink(missing_ok=True)

    def pair(self) -> Pair | None:
        """Give the pair with this store's journal, or None if no legible record of one exists."""
        try:
            read = json.loads(self._pair.read_text(encoding="utf-8"))
            return Pair(str(read["id"]), int(read["counter"]))
        except FileNotFoundError:
            return None
        except (OSError, ValueError, KeyError, TypeError) as failure:
            log.warning("pair_unreadable", file=str(self._pair), why=str(failure))
            return None

    def set_pair(self, pair: Pair) -> None:
        """Record which journal this store belongs to from now on.

        Raises:
            OSError: It could not be written.
        """
        write_text_durably(self._pair, json.dumps(vars(pair)))

    def unfinished(self) -> list[Unfinished]:
        """List the publications that were never settled. Unreadable records stay."""
        found = []
        for record in sorted(self._unfinished.glob("*.json")):
            try:
                read = json.loads(record.read_text(encoding="utf-8"))
                sha256s = tuple(name for name in read["sha256"] if _SHA256.fullmatch(name))
                found.append(Unfinished(record, str(read["pair"]), sha256s))
            except (OSError, ValueError, KeyError, TypeError) as failure:
                log.warning("record_unreadable", file=str(record), why=str(failure))
        return found

    def check(self, sha256: str, size_bytes: int) -> Path:
        """Verify a stored file and give its path.

        Raises:
            DataLoss: It is missing, cannot be read, or does not match its hash.
        """
        path = self.path(sha256)
        try:
            with path.open("rb") as file:
                is_whole = os.fstat(file.fileno()).st_size == size_bytes
                found = hashlib.file_digest(file, "sha256").hexdigest() if is_whole else ""
        except FileNotFoundError as failure:
            raise DataLoss(
                f"the stored file {sha256} is missing: generate the take again"
            ) from failure
        except OSError as failure:
            raise DataLoss(
                f"a stored file cannot be read: {fault_of(failure, f'the file {sha256}').message}"
            ) from failure
        if found != sha256:
            raise DataLoss(
                f"the stored file {sha256} does not match its SHA-256: generate the take again"
            )
        return path

    def discard(self, unfinished: Unfinished, referenced: set[str]) -> list[str]:
        """Move the files of a publication to which no take refers into today's trash.

        Returns:
            The SHA-256 of the files that were moved.

        Raises:
            OSError: A file could not be moved. The record stays.
        """
        trash = self._trash / time.strftime("%Y-%m-%d")
        moved = []
        for sha256 in unfinished.sha256s:
            path = self.path(sha256)
            if sha256 not in referenced and path.exists():
                trash.mkdir(parents=True, exist_ok=True)
                os.replace(path, trash / sha256)
                moved.append(sha256)
        unfinished.record.unlink(missing_ok=True)
        return moved

    @property
    def _trash(self) -> Path:
        return self.root / "trash"

    def empty_trash(self, wanted_bytes: int) -> list[str]:
        """Delete days of the trash, the oldest first, until enough bytes are free.

        Returns:
            The days that were deleted.
        """
        emptied: list[str] = []
        days = sorted(self._trash.glob("????-??-??")) if self._trash.is_dir() else []
        for day in days:
            if free_bytes(self.root) >= wanted_bytes:
                break
            shutil.rmtree(day, ignore_errors=True)
            log.warning("trash_emptied", day=day.name, why="the disk is full")
            emptied.append(day.name)
        return emptied


def free_bytes(folder: Path) -> int:
    """Give the free bytes of the disk that holds `folder`, for an ordinary user."""
    return shutil.disk_usage(folder).free
