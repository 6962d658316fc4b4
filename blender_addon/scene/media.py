# SPDX-License-Identifier: GPL-3.0-or-later
"""Media lie in the user's folder before the first save, and beside the .blend afterwards.

Blender must not remove the folder for unsaved work with the extension. It is the folder of the
preferences, or else one beside Blender's own automatic saves, among the temporary files.
"""

import getpass
import os
import tempfile
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import bpy

from .. import compat
from ..core import unsaved
from ..core.paths import MEDIA_FOLDER
from ..core.takes import Take, load_take
from . import provenance
from .runtime import runtime

_PACKAGE = __package__.rpartition(".")[0]


def _choose_none() -> str:
    """Stand in until the user interface supplies the chosen folder."""
    return ""


chosen_folder: Callable[[], str] = _choose_none
"""Function that gives the folder of the preferences, or an empty string. `ui` sets it."""


def unsaved_folder() -> Path:
    """Give the folder for media of files that were never saved. Create it if it is missing."""
    root = _root()
    try:
        root.mkdir(mode=0o700, parents=True, exist_ok=True)
        is_ours = os.name != "posix" or bool(chosen_folder()) or root.stat().st_uid == os.getuid()
    except OSError:
        is_ours = False
    if is_ours:
        return root
    return Path(bpy.utils.user_resource("DATAFILES", path="layert2v/unsaved", create=True))


def _root() -> Path:
    chosen = chosen_folder()
    if chosen:
        return Path(bpy.path.abspath(chosen))
    assert bpy.context.preferences is not None
    base = bpy.context.preferences.filepaths.temporary_directory or tempfile.gettempdir()
    return Path(base) / f"layert2v_{_user()}"


def _user() -> str:
    try:
        return getpass.getuser()
    except (OSError, KeyError, ImportError):
        return "user"


def unsaved_folders() -> list[Path]:
    """List the folders for media of unsaved files, including those of earlier versions."""
    folders = [_root()]
    folders.append(Path(bpy.utils.user_resource("DATAFILES", path="layert2v/unsaved")))
    try:
        folders.append(Path(bpy.utils.extension_path_user(_PACKAGE, path="unsaved")))
    except ValueError:  # The add-on is not installed as an extension, as in tests.
        return folders
    return folders


def project_folder_or_none(folder: Path) -> Path | None:
    """Give the unsaved project that a folder belongs to, or None."""
    for root in unsaved_folders():
        if folder.is_relative_to(root) and folder != root:
            return root / folder.relative_to(root).parts[0]
    return None


def bring_beside(blend_path: str) -> None:
    """Copy the strips' media beside the .blend that is about to be saved, and relink them.

    Media that cannot be copied stay in place. A notice appears, and the next save tries again.
    """
    target = Path(blend_path).parent / MEDIA_FOLDER
    copied: dict[Path, bool] = {}
    for strip, take_folder in _unsaved_strips():
        shot_folder = take_folder.parent
        if shot_folder not in copied:
            copied[shot_folder] = _copy(shot_folder, target)
        if copied[shot_folder]:
            _relink(strip, target / shot_folder.name / take_folder.name, blend_path)


def _unsaved_strips() -> list[tuple[Any, Path]]:
    found = []
    for scene in bpy.data.scenes:
        for strip in compat.all_strips(scene) if compat.is_editable(scene) else ():
            if provenance.read_or_none(strip) is not None and compat.is_image(strip):
                take_folder = compat.media_folder(strip).parent.parent
                if project_folder_or_none(take_folder) is not None:
                    found.append((strip, take_folder))
    return found


def _copy(shot_folder: Path, target: Path) -> bool:
    project = project_folder_or_none(shot_folder)
    assert project is not None
    try:
        unsaved.copy_shot(shot_folder, target / shot_folder.name)
        unsaved.copy_journals(project, target)
        unsaved.mark_moved(project, target)
    except unsaved.CopyFailed as error:
        runtime.notice = f"{error} Free some space there, then save again."
        return False
    runtime.notice = ""
    return True


def _relink(strip: compat.Strip, take_folder: Path, blend_path: str) -> None:
    layer = compat.media_folder(strip)
    # The path is absolute. Blender makes it relative to the new place as it saves.
    strip.directory = str(take_folder / layer.parent.name / layer.name)
    stored = strip[provenance.KEY].to_dict()
    try:
        path = bpy.path.relpath(str(take_folder), start=str(Path(blend_path).parent))
    except ValueError:  # It is on another drive of Windows.
        path = str(take_folder)
    strip[provenance.KEY] = {**stored, "path": path}


def beside(take: Take) -> Take:
    """Give a take from beside the file, even if it was asked for before the first save.

    Raises:
        CopyFailed: It cannot be copied there.
    """
    project = project_folder_or_none(take.folder)
    if project is None or not bpy.data.filepath:
        return take
    target = Path(bpy.data.filepath).parent / MEDIA_FOLDER
    folder = target / take.folder.parent.name / take.folder.name
    unsaved.copy_take(take.folder, folder)
    unsaved.mark_moved(project, target)
    return load_take(folder)


def tidy() -> None:
    """Trash media that earlier Blenders have copied beside their files, on another thread."""
    roots = [folder for folder in unsaved_folders() if folder.is_dir()]

    def run() -> None:
        for root in roots:
            unsaved.tidy(root)

    threading.Thread(target=run, name="layert2v tidy", daemon=True).start()
