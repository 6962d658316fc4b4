# SPDX-License-Identifier: GPL-3.0-or-later
"""Media of files that were never saved. The first save copies them. A later start trashes them.

<unsaved root>/<project id>/<shot folder>/take_0001_<job8>/...
<unsaved root>/<project id>/moved.json     target of the copy, and its process
<unsaved root>/trash/<date>_<project id>   project that a later start of Blender moved away
"""

import hashlib
import json
import os
import shutil
import socket
import time
from contextlib import suppress
from pathlib import Path
from typing import Any

from .journal import PROCESS
from .paths import JOURNAL_PREFIX, JOURNAL_SUFFIX, PART_SUFFIX, TAKE_NAME
from .takes import UnreadableTake, load_take

MARKER_NAME = "moved.json"
TRASH_NAME = "trash"
TRASH_LIFE_S = 30 * 24 * 3600
"""Seconds after which a trashed project is deleted. The oldest goes first."""
OWNER_LIFE_S = 24 * 3600
"""Seconds for which a Blender that cannot be checked (other host, Windows) counts as running."""


class CopyFailed(Exception):
    """Raised when media could not be copied. Gives the reason. The originals are untouched."""


def copy_shot(source: Path, target: Path) -> None:
    """Copy the takes of a shot folder, each whole and verified. Existing takes stay.

    On one file system files are linked, which takes no space and no time.

    Raises:
        CopyFailed: A take is damaged, or the target cannot be written.
    """
    for take in sorted(path.parent for path in source.glob(f"take_*/{TAKE_NAME}")):
        copy_take(take, target / take.name)


def copy_take(source: Path, target: Path) -> None:
    """Copy one take under its name, verified, or leave nothing.

    Raises:
        CopyFailed: The take is damaged, or the target cannot be written.
    """
    if (target / TAKE_NAME).is_file():
        return
    draft = target.with_name(f"{target.name}-{PROCESS}{PART_SUFFIX}")
    try:
        shutil.rmtree(draft, ignore_errors=True)
        shutil.copytree(source, draft, copy_function=_link_or_copy)
        _verify(source, draft)
        os.replace(draft, target)
    except (OSError, UnreadableTake) as error:
        shutil.rmtree(draft, ignore_errors=True)
        raise CopyFailed(f"{source} could not be copied to {target.parent} ({error}).") from None


def _link_or_copy(source: str, target: str) -> str:
    try:
        os.link(source, target)
    except OSError:
        shutil.copy2(source, target)
    return target


def _verify(source: Path, copy: Path) -> None:
    for file in load_take(copy).files:
        parts = file.path.split("/")
        path = copy.joinpath(*parts)
        if os.path.samefile(path, source.joinpath(*parts)):
            continue
        with path.open("rb") as stream:
            digest = hashlib.file_digest(stream, "sha256").hexdigest()
        if file.sha256 and digest != file.sha256:
            raise UnreadableTake(f"'{file.path}' differs from the file that the backend sent")


def copy_journals(source: Path, target: Path) -> None:
    """Copy a project's journals, under names of their own, so that existing journals stay.

    Raises:
        CopyFailed: The target cannot be written.
    """
    try:
        target.mkdir(parents=True, exist_ok=True)
        for path in source.glob(f"{JOURNAL_PREFIX[:-1]}*{JOURNAL_SUFFIX}"):
            shutil.copy2(path, target / f"{path.stem}-{source.name[:8]}{JOURNAL_SUFFIX}")
    except OSError as error:
        raise CopyFailed(f"{source} could not be copied to {target} ({error}).") from None


def mark_moved(project: Path, target: Path) -> None:
    """Record that a project's media now lie at `target`. Undo steps still name the originals.

    Raises:
        CopyFailed: The record cannot be written.
    """
    values = {
        "to": str(target),
        "at": time.time(),
        "process": PROCESS,
        "pid": os.getpid(),
        "host": socket.gethostname(),
    }
    try:
        (project / MARKER_NAME).write_text(json.dumps(values), encoding="utf-8")
    except OSError as error:
        raise CopyFailed(f"{project} cannot be written ({error}).") from None


def tidy(root: Path) -> None:
    """Trash the originals of earlier Blenders, after later takes were copied too.

    Files that cannot be copied or moved stay for the next start. The trash keeps a project for 30
    days.
    """
    for marker in sorted(root.glob(f"*/{MARKER_NAME}")):
        with suppress(OSError, ValueError, KeyError, TypeError, CopyFailed):
            values = json.loads(marker.read_text(encoding="utf-8"))
            if values["process"] != PROCESS and not _is_running(values):
                _trash(marker.parent, Path(values["to"]))
    now = time.time()
    for trashed in sorted((root / TRASH_NAME).glob(f"*/{MARKER_NAME}")):
        with suppress(OSError):
            if now - trashed.parent.stat().st_mtime > TRASH_LIFE_S:
                shutil.rmtree(trashed.parent, ignore_errors=True)


def _trash(project: Path, target: Path) -> None:
    for shot in sorted({path.parent.parent for path in project.glob(f"*/take_*/{TAKE_NAME}")}):
        copy_shot(shot, target / shot.name)
    copy_journals(project, target)
    trash = project.parent / TRASH_NAME
    trash.mkdir(exist_ok=True)
    name = f"{time.strftime('%Y-%m-%d')}_{project.name}"
    moved = project.rename(trash / name)
    os.utime(moved)


def _is_running(values: dict[str, Any]) -> bool:
    """Whether the Blender that moved a project may still have undo steps that name it."""
    if os.name == "nt" or values["host"] != socket.gethostname():
        return bool(time.time() - values["at"] < OWNER_LIFE_S)
    try:
        os.kill(int(values["pid"]), 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True
