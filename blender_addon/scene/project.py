# SPDX-License-Identifier: GPL-3.0-or-later
"""A scene as a project: its id, where its media lie, and its unfinished requests."""

import uuid
from pathlib import Path
from typing import Any

import bpy

from ..core.journal import Journal
from ..core.paths import media_root
from ..core.records import JobRecord
from .runtime import runtime

_PACKAGE = __package__.rpartition(".")[0]


def unsaved_folder() -> Path:
    """Give the folder for media of files that were never saved."""
    try:
        return Path(bpy.utils.extension_path_user(_PACKAGE, path="unsaved", create=True))
    except ValueError:  # not installed as an extension, as in tests
        return Path(bpy.utils.user_resource("DATAFILES", path="layert2v/unsaved", create=True))


def ensure_project(scene: Any) -> str:
    """Give the scene's id, made on first use."""
    if not scene.layert2v.project_uid:
        scene.layert2v.project_uid = uuid.uuid4().hex
    return str(scene.layert2v.project_uid)


def ensure_media_folder(scene: Any) -> Path:
    """Give the media root for new takes and remember it on the scene."""
    root = media_root(bpy.data.filepath, unsaved_folder(), ensure_project(scene))
    scene.layert2v.media_folder = str(root)
    return root


def scene_of(record: JobRecord) -> Any:
    """Find the scene that asked, in the open file; None: it is in another file.

    An undo may have taken the id off the scene; then its name decides, while the record is of
    this session.
    """
    for scene in bpy.data.scenes:
        if scene.layert2v.project_uid == record.project_uid:
            return scene
    scene = bpy.data.scenes.get(record.scene_name)
    if scene is None or scene.layert2v.project_uid:
        return None
    if record.request_id not in runtime.asked_here.get(bpy.data.filepath, ()):
        return None
    scene.layert2v.project_uid = record.project_uid
    return scene


def journals_of(scene: Any) -> list[Journal]:
    """List the journals that may hold a scene's requests: beside the file, and where it was."""
    settings = scene.layert2v
    if not settings.project_uid:
        return []
    folders = {media_root(bpy.data.filepath, unsaved_folder(), settings.project_uid)}
    folders.add(unsaved_folder() / settings.project_uid)
    if settings.media_folder:
        folders.add(Path(settings.media_folder))
    journals = [Journal.of_media(folder) for folder in sorted(folders)]
    return [journal for journal in journals if journal.path.is_file()]


def has_unfinished(scene: Any) -> bool:
    """Whether a scene's journals hold requests that are running or wait to be imported."""
    return any(
        record.project_uid == scene.layert2v.project_uid
        and (record.state.is_active or record.state == "ready")
        for journal in journals_of(scene)
        for record in journal.records().values()
    )


def reattach() -> None:
    """Go on with the unfinished requests of every scene of the open file."""
    if runtime.session is None:
        return
    for scene in bpy.data.scenes:
        for journal in journals_of(scene):
            runtime.session.attach(journal, scene.layert2v.project_uid)
