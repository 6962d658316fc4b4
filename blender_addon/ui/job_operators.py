# SPDX-License-Identifier: GPL-3.0-or-later
"""Operators for jobs that were sent: cancel, try again, import now, dismiss."""

from dataclasses import replace
from pathlib import Path

import bpy
from bpy.props import StringProperty

from ..core.board import JobView
from ..core.journal import Journal
from ..core.records import RecordState
from ..core.shots import ShotProblem
from ..scene import importing, pump, requests
from ..scene.runtime import runtime
from . import preferences
from .operator_kinds import Result


class JobOperator(bpy.types.Operator):
    """An operator on one request. Without an id it takes the newest request that fits."""

    request_id: StringProperty(options={"HIDDEN", "SKIP_SAVE"})

    def view_or_none(self, fitting: list[JobView]) -> JobView | None:
        """Find the request."""
        if self.request_id:
            return runtime.board.jobs.get(self.request_id)
        return fitting[-1] if fitting else None


class LAYERT2V_OT_cancel(JobOperator):
    """Cancel the job. Its take is not imported unless you ask for it."""

    bl_idname = "layert2v.cancel"
    bl_label = "Cancel"
    bl_options = set()

    request_id: StringProperty(options={"HIDDEN", "SKIP_SAVE"})

    def execute(self, context: bpy.types.Context) -> Result:
        """Promise it in the journal. The session tells the backend until it has heard."""
        view = self.view_or_none(runtime.board.active)
        if view is None:
            self.report({"WARNING"}, "No job is running.")
            return {"CANCELLED"}
        session = preferences.ensure_session()
        # Noted here at once: the take may arrive before the session has heard.
        view.record = replace(view.record, is_cancel_asked=True)
        journal = Journal.of_media(Path(view.journal_folder))
        session.cancel(view.record, journal)
        return {"FINISHED"}


class LAYERT2V_OT_retry(JobOperator):
    """Try the failed job again. Finished work and fetched files are used."""

    bl_idname = "layert2v.retry"
    bl_label = "Try Again"
    bl_options = set()

    request_id: StringProperty(options={"HIDDEN", "SKIP_SAVE"})

    def execute(self, context: bpy.types.Context) -> Result:
        """Import a take from disk, fetch a finished one, or send the request again."""
        view = self.view_or_none(runtime.board.failed)
        if view is None:
            self.report({"WARNING"}, "No job has failed.")
            return {"CANCELLED"}
        if importing.is_on_disk(view):
            return _import(self, view)
        return _send_again(self, view)


class LAYERT2V_OT_import_now(JobOperator):
    """Put the waiting take on the timeline now."""

    bl_idname = "layert2v.import_now"
    bl_label = "Import Now"
    bl_options = set()

    request_id: StringProperty(options={"HIDDEN", "SKIP_SAVE"})

    def execute(self, context: bpy.types.Context) -> Result:
        """Import it, or fetch it first if its job was cancelled."""
        board = runtime.board
        view = self.view_or_none(board.offered + board.ready)
        if view is None:
            self.report({"WARNING"}, "No take is waiting.")
            return {"CANCELLED"}
        if view.record.state is RecordState.READY:
            return _import(self, view)
        return _send_again(self, view)


def _send_again(operator: bpy.types.Operator, view: JobView) -> Result:
    session = preferences.ensure_session()
    try:
        requests.send_again(session, view.record, Path(view.journal_folder))
    except ShotProblem as problem:
        operator.report({"ERROR"}, str(problem))
        return {"CANCELLED"}
    return {"FINISHED"}


def _import(operator: bpy.types.Operator, view: JobView) -> Result:
    if not pump.import_now(view):
        operator.report(
            {"WARNING"}, "Blender is rendering, saving or moving strips. Try again when it is done."
        )
        return {"CANCELLED"}
    if view.record.state is RecordState.FAILED:
        operator.report({"ERROR"}, view.record.error)
        return {"CANCELLED"}
    return {"FINISHED"}


class LAYERT2V_OT_dismiss(JobOperator):
    """Remove this entry from the list. Files stay on disk, and a cancel is still sent."""

    bl_idname = "layert2v.dismiss"
    bl_label = "Dismiss"
    bl_options = set()

    request_id: StringProperty(options={"HIDDEN", "SKIP_SAVE"})

    def execute(self, context: bpy.types.Context) -> Result:
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
    LAYERT2V_OT_cancel,
    LAYERT2V_OT_retry,
    LAYERT2V_OT_import_now,
    LAYERT2V_OT_dismiss,
)
