# SPDX-License-Identifier: GPL-3.0-or-later
"""Folders and names of media. Identity lies in `take.json` and the journal, not in names.

<media root>/<shot slug>_<uid8>/take_0003_<job8>/foreground_1/png/foreground_1_0001.png
<media root>/journal-0123456789ab.jsonl     one for each process that has written here
"""

import re
import unicodedata
from collections.abc import Iterable
from pathlib import Path

from layert2v_client import VersionMismatch

MEDIA_FOLDER = "layert2v"
"""Name of the media root beside a saved .blend."""
JOURNAL_PREFIX, JOURNAL_SUFFIX = "journal-", ".jsonl"
"""Text around a process's id. The `journal.jsonl` of earlier versions is still read."""
TAKE_NAME = "take.json"
PART_SUFFIX = ".part"
"""Suffix of a take's folder until the take is whole."""
PART_LIFE_S = 24 * 3600
"""Seconds after which a `.part` folder that another process left may be removed."""
LONGEST_SLUG = 32
"""Most characters of a slug. Paths then stay under 260, the limit of Windows, in usual folders."""

_TAKE_FOLDER = re.compile(r"take_(\d{4,})_[0-9a-z-]+")


def media_root(blend_path: str, unsaved_folder: Path, project_uid: str) -> Path:
    """Give the folder for media. It is beside the .blend, or in the user's folder before a save."""
    if blend_path:
        return Path(blend_path).parent / MEDIA_FOLDER
    return unsaved_folder / project_uid


def slug(text: str) -> str:
    """Make a file name from a prompt, in lower-case ASCII words of at most 32 characters in all."""
    ascii_text = unicodedata.normalize("NFKD", text).encode("ascii", "ignore").decode()
    words = re.sub(r"[^a-z0-9]+", "_", ascii_text.lower()).strip("_")
    return words[:LONGEST_SLUG].rstrip("_") or "shot"


def shot_folder_name(prompt: str, shot_uid: str) -> str:
    """Name a shot's folder."""
    return f"{slug(prompt)}_{shot_uid[:8]}"


def short_job(job: str) -> str:
    """Give the last eight characters of a job's id, safe in file names."""
    return re.sub(r"[^0-9a-z-]", "", job.rpartition("/")[2].lower())[-8:] or "job"


def take_folder_name(number: int, job: str) -> str:
    """Name a take's folder."""
    return f"take_{number:04d}_{short_job(job)}"


def next_take_number(shot_folder: Path) -> int:
    """Give the number for the next take of a shot, from 1."""
    if not shot_folder.is_dir():
        return 1
    matches = (_TAKE_FOLDER.fullmatch(entry.name) for entry in shot_folder.iterdir())
    return max((int(match[1]) for match in matches if match), default=0) + 1


_SAFE_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,99}")
_RESERVED_NAME = re.compile(r"(con|prn|aux|nul|com[0-9]|lpt[0-9])(\..*)?", re.IGNORECASE)
"""Device names of Windows, with any ending.

Source: Microsoft, "Naming Files, Paths, and Namespaces"."""


def safe_path(folder: Path, relative: str) -> Path:
    """Join a take's folder and a path that a backend named.

    Raises:
        VersionMismatch: The path leaves the folder, or no file of this name can be on every system.
    """
    parts = relative.split("/")
    for part in parts:
        is_safe = _SAFE_NAME.fullmatch(part) and not _RESERVED_NAME.fullmatch(part)
        if not is_safe or part.endswith("."):
            raise VersionMismatch(
                f"The backend names a file '{relative}', which cannot be written safely."
            )
    return folder.joinpath(*parts)


def check_apart(paths: Iterable[str]) -> None:
    """Check that a take's files do not overwrite each other on systems that ignore case.

    Raises:
        VersionMismatch: Two paths are equal on Windows or macOS, or one is a folder of another.
    """
    files = [path.casefold() for path in paths]
    folders = {parent for path in files for parent in _parents(path)}
    taken: set[str] = set()
    for path in files:
        if path in taken or path in folders:
            raise VersionMismatch(
                f"The backend names a file '{path}' twice, which would overwrite the first."
            )
        taken.add(path)


def _parents(path: str) -> list[str]:
    parts = path.split("/")[:-1]
    return ["/".join(parts[: count + 1]) for count in range(len(parts))]
