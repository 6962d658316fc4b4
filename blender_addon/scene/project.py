# SPDX-License-Identifier: GPL-3.0-or-later
"""A scene as a project, with its id, its file, its media root and its unfinished requests.

The id is stored on the scene, but undo must not take it away and a copy must not share it. So
`refresh` keeps the identity of each open scene in `runtime.projects`, by the id that Blender gives
a scene for the session, and writes it back.
"""

import json
import os
import time
import uuid
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import bpy

from .. import compat
from ..core.journal import Journal, merged
from ..core.paths import media_root
from ..core.records import JobRecord
from . import media
from .form import form_of
from .runtime import runtime

MOST_ANCESTORS = 50
"""Number of earlier paths of a file that are remembered."""


@dataclass(frozen=True)
class Identity:
    """Identity of a scene, which undo does not change."""

    uid: str
    """Id of the project."""
    ancestors: tuple[tuple[str, float], ...] = ()
    """Earlier paths of the file, each with the time when the file left it (seconds since 1970)."""


def scenes() -> Iterator[bpy.types.Scene]:
    """Give the scenes of the open file that may be changed."""
    return (scene for scene in bpy.data.scenes if compat.is_editable(scene))


def refresh() -> None:
    """Give every scene back its id after an undo, and copies of scenes an id of their own."""
    strangers = []
    for scene in scenes():
        known = runtime.projects.get(compat.session_uid(scene))
        if known is None:
            strangers.append(scene)
        else:
            _write(scene, known)
    # After loading, the scene with the original id comes before its copies.
    strangers.sort(key=lambda scene: scene.name != form_of(scene).project_scene)
    for scene in strangers:
        stored = form_of(scene).project_uid
        if stored:
            is_copy = any(stored == known.uid for known in _present().values())
            uid = uuid.uuid4().hex if is_copy else stored
            _keep(scene, Identity(uid, _ancestors_of(scene)))


def _present() -> dict[Any, Identity]:
    keys = {compat.session_uid(scene) for scene in scenes()}
    return {key: known for key, known in runtime.projects.items() if key in keys}


def _keep(scene: bpy.types.Scene, identity: Identity) -> None:
    runtime.projects[compat.session_uid(scene)] = identity
    _write(scene, identity)


def _write(scene: bpy.types.Scene, identity: Identity) -> None:
    settings, ancestors = form_of(scene), json.dumps(identity.ancestors)
    # The values are compared first, because every write costs Blender an update.
    if settings.project_uid != identity.uid:
        settings.project_uid = identity.uid
    if settings.ancestors != ancestors:
        settings.ancestors = ancestors
    if settings.project_scene != scene.name:
        settings.project_scene = scene.name


def _ancestors_of(scene: bpy.types.Scene) -> tuple[tuple[str, float], ...]:
    try:
        return tuple((str(path), float(at)) for path, at in json.loads(form_of(scene).ancestors))
    except (ValueError, TypeError):
        return ()


def ensure_project(scene: bpy.types.Scene) -> str:
    """Give the scene's id. The first use creates it."""
    refresh()
    if not form_of(scene).project_uid:
        _keep(scene, Identity(uuid.uuid4().hex))
    return str(form_of(scene).project_uid)


def ensure_media_folder(scene: bpy.types.Scene) -> Path:
    """Give the media root for new takes and remember it on the scene."""
    root = media_root(bpy.data.filepath, media.unsaved_folder(), ensure_project(scene))
    form_of(scene).media_folder = str(root)
    return root


def remember_path(new_path: str) -> None:
    """Note on every scene that the file is about to be saved under another path."""
    old_path = bpy.data.filepath
    if not old_path or not new_path or _is_same_path(old_path, new_path):
        return
    refresh()
    for scene in scenes():
        known = runtime.projects.get(compat.session_uid(scene))
        if known is not None:
            ancestors = (*known.ancestors, (old_path, time.time()))[-MOST_ANCESTORS:]
            _keep(scene, replace(known, ancestors=ancestors))


def scene_of(record: JobRecord) -> bpy.types.Scene | None:
    """Find the scene that asked. Give None if it is not in the open file."""
    for scene in scenes():
        if form_of(scene).project_uid == record.project_uid:
            return scene
    return None


def is_asked_here(scene: bpy.types.Scene, record: JobRecord) -> bool:
    """Whether the open file asked, or was saved from that file after it had asked.

    Files that were copied on disk, and earlier versions of a file, share the project's id. If
    the earlier path no longer exists, the file was moved here.
    """
    key = record.request_id, bpy.data.filepath
    if key not in runtime.asked_here:
        runtime.asked_here[key] = _is_asked_here(scene, record)
    return runtime.asked_here[key]


def _is_asked_here(scene: bpy.types.Scene, record: JobRecord) -> bool:
    asked = record.blend_path
    if not asked or _is_same_path(asked, bpy.data.filepath):
        return True
    is_left_later = any(
        _is_same_path(path, asked) and record.asked_at <= left_at
        for path, left_at in _ancestors_of(scene)
    )
    return is_left_later or not os.path.exists(asked)


def _is_same_path(one: str, other: str) -> bool:
    return os.path.normcase(os.path.abspath(one)) == os.path.normcase(os.path.abspath(other))


def journals_of(scene: bpy.types.Scene) -> list[Journal]:
    """List the journals that may hold a scene's requests, at present and earlier paths."""
    settings = form_of(scene)
    if not settings.project_uid:
        return []
    folders = {folder / settings.project_uid for folder in media.unsaved_folders()}
    if bpy.data.filepath:
        folders.add(media_root(bpy.data.filepath, Path(), settings.project_uid))
    if settings.media_folder:
        folders.add(Path(settings.media_folder))
    journals = [Journal.of_media(folder) for folder in sorted(folders)]
    return [journal for journal in journals if journal.exists]


def has_unfinished(scene: bpy.types.Scene) -> bool:
    """Whether a scene's journals hold requests that are running or wait to be imported."""
    return any(
        record.project_uid == form_of(scene).project_uid
        and (record.state.is_active or record.state == "ready")
        for record, _ in merged(journals_of(scene)).values()
    )


def reattach() -> None:
    """Resume the unfinished requests of every scene of the open file."""
    if runtime.session is None:
        return
    refresh()
    for scene in scenes():
        journals = journals_of(scene)
        if journals:
            runtime.session.attach(journals, form_of(scene).project_uid)
