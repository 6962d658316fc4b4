# SPDX-License-Identifier: GPL-3.0-or-later
"""Makes requests from the scene: a new shot at the playhead, or one layer anew."""

import random
import uuid
from dataclasses import replace
from pathlib import Path
from typing import Any

import bpy

from layert2v_client import Shot

from .. import compat
from ..core.events import RecordChanged
from ..core.journal import Journal
from ..core.paths import shot_folder_name
from ..core.records import JobRecord, RecordState
from ..core.shots import NUM_RANDOM_SEEDS, ShotProblem, check_shot, new_shot, regenerated
from . import project, provenance, strips
from .runtime import runtime


def shot_of_scene(scene: Any) -> Shot:
    """Read the next shot from the scene's properties."""
    form = scene.layert2v
    return new_shot(
        form.background,
        tuple(foreground.prompt for foreground in form.foregrounds),
        prompt=form.prompt,
        negative_prompt=form.negative_prompt,
        model=form.model,
        width=form.width,
        height=form.height,
        num_frames=form.num_frames,
        seed=form.seed,
    )


def generate(scene: Any) -> JobRecord:
    """Send the next shot; its take is imported at the frame where the playhead stands now.

    Raises:
        ShotProblem: The shot cannot be made, or no backend answers.
    """
    form = scene.layert2v
    if form.is_seed_random:
        form.seed = random.randrange(NUM_RANDOM_SEEDS)
    shot = shot_of_scene(scene)
    _check(shot)
    shot_uid = uuid.uuid4().hex
    name = shot_folder_name(shot.prompt or shot.layers[1].prompt, shot_uid)
    record = JobRecord(
        request_id=str(uuid.uuid4()),
        project_uid=project.ensure_project(scene),
        scene_name=scene.name,
        shot_uid=shot_uid,
        asked=shot,
        frame_start=scene.frame_current,
        shot_folder=name,
        address=_address(),
        fps=_fps(shot.model),
    )
    return _send(record, Journal.of_media(project.ensure_media_folder(scene)))


def regenerate(scene: Any, strip: Any, prompt: str, full_prompt: str, seed: int) -> JobRecord:
    """Make the layer that a strip shows anew; every other layer is kept as it is shown now.

    Raises:
        ShotProblem: The new shot cannot be made, or no backend answers.
        UnreadableTake: The strip shows no layer of a take.
    """
    take = strips.take_of(strip)
    described = provenance.read_or_none(strip)
    assert described is not None
    if described.layer < 0:
        raise ShotProblem("The full video has no prompt of its own: select one of its layers.")
    shown = strips.jobs_shown(scene, described.shot)
    kept = {k: shown.get(k, take.job) for k in range(len(take.asked.layers))}
    shot = regenerated(
        take.asked, described.layer, kept, prompt=prompt, seed=seed, full_prompt=full_prompt
    )
    shot = replace(
        shot,
        model=take.made.model,
        width=take.made.width,
        height=take.made.height,
        num_frames=take.made.num_frames,
    )
    _check(shot)
    shot_folder = take.folder.parent
    record = JobRecord(
        request_id=str(uuid.uuid4()),
        project_uid=project.ensure_project(scene),
        scene_name=scene.name,
        shot_uid=described.shot,
        asked=shot,
        frame_start=compat.span(strip)[0],
        shot_folder=shot_folder.name,
        address=_address(),
        fps=take.fps,
        layer_index=described.layer,
    )
    return _send(record, Journal.of_media(shot_folder.parent))


def send_again(record: JobRecord, folder: Path) -> None:
    """Go on with a failed request; where the backend itself failed, as a new request."""
    if record.job and not record.remedy:
        record = replace(record, request_id=str(uuid.uuid4()), job="", last_sequence=0)
    _check(record.asked)
    record = replace(record, state=RecordState.SUBMITTING, address=_address())
    _send(record, Journal.of_media(folder))


def _send(record: JobRecord, journal: Journal) -> JobRecord:
    assert runtime.session is not None
    runtime.asked_here.setdefault(bpy.data.filepath, set()).add(record.request_id)
    runtime.board.apply(RecordChanged(record, str(journal.folder)))
    runtime.session.submit(record, journal)
    return record


def _check(shot: Shot) -> None:
    check_shot(shot, runtime.board.model(shot.model))
    if runtime.session is None:
        raise ShotProblem("No backend is connected: press Connect or Start Backend.")
    if runtime.board.is_up is False:
        raise ShotProblem(f"{runtime.board.message} {runtime.board.remedy}")


def _address() -> str:
    assert runtime.session is not None
    return runtime.session.address


def _fps(model_id: str) -> float:
    model = runtime.board.model(model_id)
    return model.fps if model else 0.0
