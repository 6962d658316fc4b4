# SPDX-License-Identifier: GPL-3.0-or-later
"""Requests of Generate, Regenerate Layer and Try Again, on their way to a session.

Operators of `ui` call these functions with the session, which then takes over the request.
"""

import time
import uuid
from dataclasses import replace
from pathlib import Path
from typing import Any

import bpy

from layert2v_client import Shot

from .. import compat
from ..core.journal import Journal
from ..core.paths import shot_folder_name
from ..core.records import JobRecord, RecordState
from ..core.session import Session
from ..core.shots import (
    ShotProblem,
    check_shot,
    draw_seed,
    new_shot,
    parse_seed,
    regenerated,
)
from ..core.takes import Take
from . import copies, project, provenance, strips
from .form import form_of
from .provenance import Provenance
from .runtime import runtime

REPEAT_S = 1.0
"""Seconds within which Generate asks before it sends an equal shot again."""


def shot_of_scene(scene: bpy.types.Scene, seed: int) -> Shot:
    """Read the next shot from the scene's properties, with a given seed."""
    form = form_of(scene)
    return new_shot(
        form.background,
        tuple(foreground.prompt for foreground in form.foregrounds),
        prompt=form.prompt,
        negative_prompt=form.negative_prompt,
        model=form.model,
        width=form.width,
        height=form.height,
        num_frames=form.num_frames,
        seed=seed,
    )


def is_repeated(scene: bpy.types.Scene) -> bool:
    """Whether this shot was sent less than `REPEAT_S` ago, random seeds aside."""
    last = runtime.last_sent
    return last is not None and last[1] == _wish(scene) and time.monotonic() - last[0] < REPEAT_S


def _wish(scene: bpy.types.Scene) -> tuple[Any, ...]:
    form = form_of(scene)
    seed = "" if form.is_seed_random else form.seed
    return form.project_uid, scene.frame_current, seed, shot_of_scene(scene, 0)


def generate(session: Session, scene: bpy.types.Scene) -> JobRecord:
    """Send the next shot. Its take is imported at the current frame of the playhead.

    Raises:
        ShotProblem: The shot cannot be generated, or no backend answers.
    """
    form = form_of(scene)
    seed = draw_seed() if form.is_seed_random else parse_seed(form.seed)
    form.seed = str(seed)
    shot = shot_of_scene(scene, seed)
    _check(shot)
    shot_uid = uuid.uuid4().hex
    folder = project.ensure_media_folder(scene)
    runtime.last_sent = time.monotonic(), _wish(scene)
    record = JobRecord(
        **_asked_by(scene, session.address),
        shot_uid=shot_uid,
        asked=shot,
        frame_start=scene.frame_current,
        shot_folder=shot_folder_name(shot.prompt or shot.layers[1].prompt, shot_uid),
        fps=_fps(shot.model),
    )
    return runtime.send(session, record, Journal.of_media(folder))


def regenerate(
    session: Session,
    scene: bpy.types.Scene,
    strip: compat.Strip,
    prompt: str,
    full_prompt: str,
    seed: int,
) -> JobRecord:
    """Regenerate the layer that a strip shows. Keep every other layer as it is shown now.

    Raises:
        ShotProblem: The new shot cannot be generated, or no backend answers.
        UnreadableTake: The strip shows no layer of a take.
    """
    copies.separate_copies(scene)
    take = strips.take_of(strip)
    described = provenance.read_or_none(strip)
    assert described is not None
    if described.layer < 0:
        raise ShotProblem("The full video has no prompt of its own. Select one of its layers.")
    shot = regenerated(
        _shown_shot(scene, strip, take, described),
        described.layer,
        _kept_jobs(scene, take, described),
        prompt=prompt,
        seed=seed,
        full_prompt=full_prompt,
    )
    _check(shot)
    shot_folder = take.folder.parent
    record = JobRecord(
        **_asked_by(scene, session.address),
        shot_uid=described.shot,
        asked=shot,
        frame_start=compat.span(strip)[0],
        shot_folder=shot_folder.name,
        fps=take.fps,
        layer_index=described.layer,
    )
    return runtime.send(session, record, Journal.of_media(shot_folder.parent))


def _kept_jobs(scene: bpy.types.Scene, take: Take, described: Provenance) -> dict[int, str]:
    shown = strips.shown(scene, described.shot)
    layers = range(len(take.asked.layers))
    return {k: shown[k].job if k in shown else take.job for k in layers}


def _shown_shot(
    scene: bpy.types.Scene, strip: compat.Strip, take: Take, described: Provenance
) -> Shot:
    """Give the shot that the timeline shows now. Its layers may come from several takes.

    The full prompt comes from a take with just these layers. Without such a take it is empty.
    """
    shown = strips.shown(scene, described.shot)
    layers = tuple(
        replace(layer, prompt=shown[k].prompt if k in shown else layer.prompt)
        for k, layer in enumerate(take.asked.layers)
    )
    takes = [take]
    for other, each in strips.of_shot(scene, described.shot):
        if each.layer < 0:
            takes.insert(0, strips.take_of(other))
    words = [layer.prompt for layer in layers]
    prompts = [
        each.asked.prompt
        for each in takes
        if [layer.prompt for layer in each.asked.layers] == words
    ]
    made = take.made
    return replace(
        take.asked,
        layers=layers,
        prompt=prompts[0] if prompts else "",
        model=made.model,
        width=made.width,
        height=made.height,
        num_frames=made.num_frames,
    )


def _asked_by(scene: bpy.types.Scene, address: str) -> dict[str, Any]:
    """Give the fields of a new record that name the scene, its file and the backend."""
    return {
        "request_id": str(uuid.uuid4()),
        "project_uid": project.ensure_project(scene),
        "scene_name": scene.name,
        "address": address,
        "blend_path": bpy.data.filepath,
        "asked_at": time.time(),
    }


def send_again(session: Session, record: JobRecord, folder: Path) -> None:
    """Resume a failed request. If the backend has ended its job, send a new request.

    Raises:
        ShotProblem: The shot cannot be generated, no backend answers, or another has the job.
    """
    _check(record.asked)
    is_new = record.is_over or (record.is_cancel_asked and not record.is_made)
    if record.job and not is_new and record.address != session.address:
        raise ShotProblem(
            f"The backend at {record.address} has the job. Connect to it, then try again."
        )
    changed = replace(
        record,
        state=RecordState.SUBMITTING,
        address=session.address,
        take_folder="",
        # An artist who tries again wants the take, even after a cancel.
        is_import_asked=record.is_import_asked or record.is_cancel_asked,
    )
    if is_new:
        changed = replace(
            changed,
            request_id=str(uuid.uuid4()),
            job="",
            last_sequence=0,
            revision=0,
            is_cancel_asked=False,
            is_import_asked=False,
            is_over=False,
            is_made=False,
        )
        runtime.board.jobs.pop(record.request_id, None)
    runtime.send(session, changed, Journal.of_media(folder))


def _check(shot: Shot) -> None:
    check_shot(shot, runtime.board.model(shot.model))
    if runtime.board.is_up is False:
        raise ShotProblem(f"{runtime.board.message} {runtime.board.remedy}")


def _fps(model_id: str) -> float:
    model = runtime.board.model(model_id)
    return model.fps if model else 0.0
