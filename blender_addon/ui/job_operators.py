# SPDX-License-Identifier: GPL-3.0-or-later
"""Operators for jobs: generate, regenerate, cancel, try again, dismiss."""

import random
from dataclasses import replace
from pathlib import Path

import bpy
from bpy.props import IntProperty, StringProperty

from layert2v_words import FULL

from .. import compat
from ..core.board import JobView
from ..core.events import RecordChanged
from ..core.journal import Journal
from ..core.records import RecordState
from ..core.shots import NUM_RANDOM_SEEDS, ShotProblem
from ..core.takes import UnreadableTake
from ..scene import provenance, requests
from ..scene.runtime import runtime
from . import preferences
from .shot_operators import SceneOperator
from .words import draw_unknown_words, suggest_words


def _ensure_session() -> None:
    if runtime.session is None:
        preferences.connect()


class LAYERT2V_OT_generate(SceneOperator, bpy.types.Operator):
    """Make the shot; the strips appear at this frame when it is done."""

    bl_idname = "layert2v.generate"
    bl_label = "Generate"
    bl_options = {"REGISTER", "UNDO"}  # noqa: RUF012

    def execute(self, context: bpy.types.Context) -> set[str]:
        """Send the shot and return at once."""
        _ensure_session()
        try:
            requests.generate(compat.sequencer_scene(context))
        except ShotProblem as problem:
            self.report({"ERROR"}, str(problem))
            return {"CANCELLED"}
        return {"FINISHED"}


class LAYERT2V_OT_regenerate(SceneOperator, bpy.types.Operator):
    """Make the selected strip's layer anew, with every other layer kept as it is."""

    bl_idname = "layert2v.regenerate"
    bl_label = "Regenerate Layer"
    bl_options = {"REGISTER", "UNDO"}  # noqa: RUF012

    prompt: StringProperty(  # type: ignore[valid-type]
        name="Prompt",
        description="What the layer shall show; empty: as before",
        options={"SKIP_SAVE"},
        search=suggest_words,
        search_options={"SUGGESTION"},
    )
    full_prompt: StringProperty(  # type: ignore[valid-type]
        name="Full",
        description="The full picture; empty: as before, or put together from the layers' prompts",
        options={"SKIP_SAVE"},
    )
    seed: IntProperty(  # type: ignore[valid-type]
        name="Seed", description="-1: a new one", default=-1, min=-1, options={"SKIP_SAVE"}
    )

    def invoke(self, context: bpy.types.Context, event: bpy.types.Event) -> set[str]:
        """Ask for the prompt, beginning with the present one."""
        strip = compat.active_strip(compat.sequencer_scene(context))
        described = provenance.read_or_none(strip)
        if described is not None and not self.prompt:
            self.prompt = described.prompt
        return context.window_manager.invoke_props_dialog(self, width=480)

    def draw(self, context: bpy.types.Context) -> None:
        """Draw the dialog, with what the model does not know of the prompts."""
        described = provenance.read_or_none(compat.active_strip(compat.sequencer_scene(context)))
        model = runtime.board.model(described.model) if described else None
        layer_index = described.layer if described else FULL
        for name, index in (("prompt", layer_index), ("full_prompt", FULL)):
            self.layout.prop(self, name)
            draw_unknown_words(self.layout, model, index, getattr(self, name))
        self.layout.prop(self, "seed")

    def execute(self, context: bpy.types.Context) -> set[str]:
        """Send the shot and return at once."""
        _ensure_session()
        scene = compat.sequencer_scene(context)
        seed = self.seed if self.seed >= 0 else random.randrange(NUM_RANDOM_SEEDS)
        strip = compat.active_strip(scene)
        try:
            requests.regenerate(scene, strip, self.prompt, self.full_prompt, seed)
        except (ShotProblem, UnreadableTake) as problem:
            self.report({"ERROR"}, str(problem))
            return {"CANCELLED"}
        return {"FINISHED"}


class JobOperator:
    """An operator on one request; without an id, on the newest that fits."""

    request_id: StringProperty(options={"SKIP_SAVE"})  # type: ignore[valid-type]

    def view_or_none(self, fitting: list[JobView]) -> JobView | None:
        """Find the request."""
        if self.request_id:
            return runtime.board.jobs.get(self.request_id)
        return fitting[-1] if fitting else None


class LAYERT2V_OT_cancel(JobOperator, bpy.types.Operator):
    """Stop a job; nothing of it is imported."""

    bl_idname = "layert2v.cancel"
    bl_label = "Cancel"

    request_id: StringProperty(options={"SKIP_SAVE"})  # type: ignore[valid-type]

    def execute(self, context: bpy.types.Context) -> set[str]:
        """Ask the backend to stop it."""
        view = self.view_or_none(runtime.board.active)
        if view is None or runtime.session is None:
            self.report({"WARNING"}, "No job is running.")
            return {"CANCELLED"}
        runtime.session.cancel(view.record.request_id)
        return {"FINISHED"}


class LAYERT2V_OT_retry(JobOperator, bpy.types.Operator):
    """Try a failed job again; what was made or fetched already is used."""

    bl_idname = "layert2v.retry"
    bl_label = "Try Again"

    request_id: StringProperty(options={"SKIP_SAVE"})  # type: ignore[valid-type]

    def execute(self, context: bpy.types.Context) -> set[str]:
        """Send it again."""
        view = self.view_or_none(runtime.board.failed)
        if view is None:
            self.report({"WARNING"}, "No job has failed.")
            return {"CANCELLED"}
        _ensure_session()
        try:
            requests.send_again(view.record, Path(view.journal_folder))
        except ShotProblem as problem:
            self.report({"ERROR"}, str(problem))
            return {"CANCELLED"}
        return {"FINISHED"}


class LAYERT2V_OT_dismiss(JobOperator, bpy.types.Operator):
    """Take a finished or failed job, or a notice, off the list; its files stay on disk."""

    bl_idname = "layert2v.dismiss"
    bl_label = "Dismiss"

    request_id: StringProperty(options={"SKIP_SAVE"})  # type: ignore[valid-type]

    def execute(self, context: bpy.types.Context) -> set[str]:
        """Note it in the journal."""
        board = runtime.board
        view = self.view_or_none(board.noticed + board.failed + board.ready)
        if view is None:
            return {"CANCELLED"}
        if view.notice:
            view.notice = ""
            return {"FINISHED"}
        settled = replace(view.record, state=RecordState.DISMISSED)
        runtime.board.apply(RecordChanged(settled, view.journal_folder))
        if runtime.session is not None:
            journal = Journal.of_media(Path(view.journal_folder))
            runtime.session.mark(settled, journal, RecordState.DISMISSED)
        return {"FINISHED"}


CLASSES = (
    LAYERT2V_OT_generate,
    LAYERT2V_OT_regenerate,
    LAYERT2V_OT_cancel,
    LAYERT2V_OT_retry,
    LAYERT2V_OT_dismiss,
)
