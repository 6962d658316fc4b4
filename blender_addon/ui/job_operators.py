# SPDX-License-Identifier: GPL-3.0-or-later
"""Operators for jobs: generate, regenerate, cancel, try again, dismiss."""

from dataclasses import replace
from pathlib import Path
from typing import ClassVar

import bpy
from bpy.props import StringProperty

from layert2v_words import FULL

from .. import compat
from ..core.board import JobView
from ..core.journal import Journal
from ..core.records import RecordState
from ..core.shots import ShotProblem, parse_seed
from ..core.takes import UnreadableTake
from ..scene import importing, provenance, pump, requests
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
    bl_options = {"UNDO"}  # noqa: RUF012 - with REGISTER, Adjust Last Operation would send jobs

    def invoke(self, context: bpy.types.Context, event: bpy.types.Event) -> set[str]:
        """Ask where the same shot was sent a moment ago: a panel may have moved under the mouse."""
        if not requests.is_repeated(compat.sequencer_scene(context)):
            return self.execute(context)
        return context.window_manager.invoke_confirm(
            self,
            event,
            title=self.bl_label,
            message="The same shot was sent a moment ago. Send it once more?",
            confirm_text="Generate",
        )

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
    """Regenerate the selected strip's layer; every other layer stays bit-identical."""

    bl_idname = "layert2v.regenerate"
    bl_label = "Regenerate Layer"
    bl_options = {"UNDO"}  # noqa: RUF012 - with REGISTER, Adjust Last Operation would send jobs

    prompt: StringProperty(  # type: ignore[valid-type]
        name="Prompt",
        description="New prompt of the layer. Leave empty to keep the current one",
        options={"SKIP_SAVE"},
        search=suggest_words,
        search_options={"SUGGESTION"},
    )
    full_prompt: StringProperty(  # type: ignore[valid-type]
        name="Whole Picture",
        description=(
            "Describes all layers together. Leave empty to keep the words, or to combine the layer "
            "prompts when this one changes"
        ),
        options={"SKIP_SAVE"},
    )
    seed: StringProperty(  # type: ignore[valid-type]
        name="Seed",
        description="A whole number of up to 63 bits. Leave empty to draw a new one",
        options={"SKIP_SAVE"},
    )

    def invoke(self, context: bpy.types.Context, event: bpy.types.Event) -> set[str]:
        """Ask for the prompt, beginning with the present one."""
        strip = compat.active_strip(compat.sequencer_scene(context))
        described = provenance.read_or_none(strip)
        if described is not None and not self.prompt:
            self.prompt = described.prompt
        return context.window_manager.invoke_props_dialog(
            self, width=480, confirm_text="Regenerate"
        )

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
        strip = compat.active_strip(scene)
        try:
            seed = parse_seed(self.seed)
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
    """Stop a job; nothing of it is imported by itself."""

    bl_idname = "layert2v.cancel"
    bl_label = "Cancel"
    bl_options: ClassVar[set[str]] = set()

    request_id: StringProperty(options={"SKIP_SAVE"})  # type: ignore[valid-type]

    def execute(self, context: bpy.types.Context) -> set[str]:
        """Promise it in the journal; the session tells the backend until it has heard."""
        view = self.view_or_none(runtime.board.active)
        if view is None:
            self.report({"WARNING"}, "No job is running.")
            return {"CANCELLED"}
        _ensure_session()
        # Noted here at once: the take may arrive before the session has heard.
        view.record = replace(view.record, is_cancel_asked=True)
        journal = Journal.of_media(Path(view.journal_folder))
        if runtime.session is not None:
            runtime.session.cancel(view.record, journal)
        return {"FINISHED"}


class LAYERT2V_OT_retry(JobOperator, bpy.types.Operator):
    """Try a failed job again; what was made or fetched already is used."""

    bl_idname = "layert2v.retry"
    bl_label = "Try Again"
    bl_options: ClassVar[set[str]] = set()

    request_id: StringProperty(options={"SKIP_SAVE"})  # type: ignore[valid-type]

    def execute(self, context: bpy.types.Context) -> set[str]:
        """Import what lies on disk, fetch what is made, or send the request again."""
        view = self.view_or_none(runtime.board.failed)
        if view is None:
            self.report({"WARNING"}, "No job has failed.")
            return {"CANCELLED"}
        if importing.is_on_disk(view):
            return _import(self, view)
        return _send_again(self, view)


class LAYERT2V_OT_import_now(JobOperator, bpy.types.Operator):
    """Put a take that waits on the timeline now."""

    bl_idname = "layert2v.import_now"
    bl_label = "Import Now"
    bl_options: ClassVar[set[str]] = set()

    request_id: StringProperty(options={"SKIP_SAVE"})  # type: ignore[valid-type]

    def execute(self, context: bpy.types.Context) -> set[str]:
        """Import it, or fetch it first where its job was cancelled."""
        board = runtime.board
        view = self.view_or_none(board.offered + board.ready)
        if view is None:
            self.report({"WARNING"}, "No take is waiting.")
            return {"CANCELLED"}
        if view.record.state is RecordState.READY:
            return _import(self, view)
        return _send_again(self, view)


def _send_again(operator: bpy.types.Operator, view: JobView) -> set[str]:
    _ensure_session()
    try:
        requests.send_again(view.record, Path(view.journal_folder))
    except ShotProblem as problem:
        operator.report({"ERROR"}, str(problem))
        return {"CANCELLED"}
    return {"FINISHED"}


def _import(operator: bpy.types.Operator, view: JobView) -> set[str]:
    if not pump.import_now(view):
        operator.report({"WARNING"}, "Blender is rendering, saving or moving strips: wait for it.")
        return {"CANCELLED"}
    if view.record.state is RecordState.FAILED:
        operator.report({"ERROR"}, view.record.error)
        return {"CANCELLED"}
    return {"FINISHED"}


class LAYERT2V_OT_dismiss(JobOperator, bpy.types.Operator):
    """Take a job or a notice off the list; files stay on disk, and a cancel is still sent."""

    bl_idname = "layert2v.dismiss"
    bl_label = "Dismiss"
    bl_options: ClassVar[set[str]] = set()

    request_id: StringProperty(options={"SKIP_SAVE"})  # type: ignore[valid-type]

    def execute(self, context: bpy.types.Context) -> set[str]:
        """Note it in the journal."""
        board = runtime.board
        pending = [view for view in board.active if view.record.is_cancel_pending]
        listed = pending + board.offered + board.noticed + board.failed + board.ready
        view = self.view_or_none(listed)
        if view is None:
            return {"CANCELLED"}
        if view.notice:
            view.notice = ""
        elif view.record.state in (RecordState.CANCELLING, RecordState.CANCELLED):
            runtime.settle(view, is_dismissed=True)
        else:
            runtime.settle(view, state=RecordState.DISMISSED)
        return {"FINISHED"}


CLASSES = (
    LAYERT2V_OT_generate,
    LAYERT2V_OT_regenerate,
    LAYERT2V_OT_cancel,
    LAYERT2V_OT_retry,
    LAYERT2V_OT_import_now,
    LAYERT2V_OT_dismiss,
)
