"""Files that survive a loss of power: synced, renamed, and the name synced too.

A rename alone is not durable. After a crash the new name may stand for a file without its content,
or the old name may be back. So the content is synced before the rename, and the folder after it.
"""

import os
import shutil
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


def sync_file(path: Path) -> None:
    """Make a file's content durable.

    Raises:
        OSError: It could not be synced. A full disk is `errno.ENOSPC`.
    """
    handle = os.open(path, os.O_RDWR)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def sync_folder(folder: Path) -> None:
    """Make the names in a folder durable.

    Raises:
        OSError: They could not be synced.
    """
    if sys.platform == "win32":  # folders cannot be opened there. NTFS journals the rename
        return
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def publish_file(partial: Path, path: Path) -> None:
    """Give a finished file its name, in place of an earlier one. Both are in one folder.

    Raises:
        OSError: It could not be synced or renamed; `path` is then as it was.
    """
    sync_file(partial)
    partial.replace(path)
    sync_folder(path.parent)


def publish_folder(partial: Path, folder: Path) -> None:
    """Give a finished folder its name, with everything in it; `folder` does not exist yet.

    Raises:
        OSError: It could not be synced or renamed.
    """
    for parent, _, names in os.walk(partial):
        for name in names:
            sync_file(Path(parent) / name)
        sync_folder(Path(parent))
    partial.replace(folder)
    sync_folder(folder.parent)


@contextmanager
def replacing_folder(folder: Path) -> Iterator[Path]:
    """Give a hidden, empty folder beside `folder` to write in. It takes its place at the end.

    Where writing fails, `folder` stays as it was. Parents are made.

    Raises:
        OSError: A folder could not be made, synced or renamed.
    """
    folder = folder.resolve()
    folder.parent.mkdir(parents=True, exist_ok=True)
    draft, old = (
        folder.with_name(f".{folder.name}.{os.getpid()}.{end}") for end in ("draft", "old")
    )
    try:
        draft.mkdir()
        yield draft
        if folder.exists():
            folder.rename(old)
        publish_folder(draft, folder)
    finally:
        shutil.rmtree(draft, ignore_errors=True)
        if old.exists() and not folder.exists():
            old.rename(folder)
        shutil.rmtree(old, ignore_errors=True)


def write_text_durably(path: Path, text: str) -> None:
    """Write a small UTF-8 file, whole or not at all.

    Raises:
        OSError: It could not be written; `path` is then as it was.
    """
    partial = path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        partial.write_text(text, encoding="utf-8")
        publish_file(partial, path)
    finally:
        partial.unlink(missing_ok=True)
