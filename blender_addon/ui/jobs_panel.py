# SPDX-License-Identifier: GPL-3.0-or-later
"""The panel of the jobs: the running, the failed and the waiting ones."""

from pathlib import Path

import bpy

from layert2v_client import default_address, parse_address

from ..core.board import JobView
from ..core.records import RecordState
from ..core.shots import layer_name
from ..scene import project
from ..scene.runtime import runtime
from .drawing import draw_sentence
from .sidebar import SidebarPanel


class LAYERT2V_PT_jobs(SidebarPanel):
    """Jobs that run, have failed or wait."""

    bl_label = "Jobs"
    bl_idname = "LAYERT2V_PT_jobs"
    bl_order = 2

    def draw(self, context: bpy.types.Context) -> None:
        """Draw every request that is not settled."""
        if runtime.notice:
            draw_sentence(self.layout, runtime.notice, "ERROR")
        num_elsewhere, is_empty = 0, True
        for view in reversed(list(runtime.board.jobs.values())):
            state, is_here = view.record.state, project.scene_of(view.record) is not None
            if state is RecordState.FAILED and not is_here:
                num_elsewhere += 1
                continue
            is_empty = not self._draw_view(view) and is_empty
        if num_elsewhere:
            self.layout.label(text=f"Failed in other files: {num_elsewhere}", icon="INFO")
        elif is_empty:
            self.layout.label(text="No jobs")
        self.layout.operator("layert2v.import_take", text="Import Take from Disk...")

    def _draw_view(self, view: JobView) -> bool:
        """Draw a request if the artist should see it. Return whether it was drawn."""
        state = view.record.state
        if view.record.is_dismissed:
            return False
        if state.is_active:
            self._draw_active(view)
        elif state is RecordState.FAILED:
            self._draw_failed(view)
        elif view.notice:
            self._draw_notice(view)
        elif view.record.is_offered:
            text = "It was cancelled, but the backend had finished the take."
            self._draw_waiting(view, text, can_import=True)
        elif state is RecordState.READY and view.waiting:
            self._draw_waiting(view, view.waiting, can_import=view.can_import)
        else:
            return False
        return True

    def _draw_active(self, view: JobView) -> None:
        box, record = self.layout.box(), view.record
        box.label(text=_title(view))
        if project.scene_of(record) is None:
            box.label(text=f"For {Path(record.blend_path).name or 'a file that was not saved'}")
        if runtime.board.is_up is False:
            self._draw_out_of_reach(box, view)
        elif record.is_cancel_pending:
            box.label(text="Cancelling")
        else:
            row = box.row(align=True)
            row.progress(factor=view.fraction, text=view.caption)
            cancel = row.operator("layert2v.cancel", text="", icon="CANCEL")
            cancel.request_id = record.request_id

    @staticmethod
    def _draw_out_of_reach(box: bpy.types.UILayout, view: JobView) -> None:
        is_cancel = view.record.is_cancel_pending
        text = "The cancel waits for the backend" if is_cancel else "Waiting for the backend"
        # The text has a line of its own, because it would be cut beside buttons.
        box.label(text=text, icon="TIME")
        row = box.row(align=True)
        if _can_start():
            row.operator("layert2v.backend_start")
        name = "layert2v.dismiss" if is_cancel else "layert2v.cancel"
        row.operator(name).request_id = view.record.request_id

    def _draw_waiting(self, view: JobView, text: str, *, can_import: bool) -> None:
        box = self.layout.box()
        box.label(text=_title(view))
        draw_sentence(box, text, "INFO")
        row = box.row(align=True)
        if can_import:
            row.operator("layert2v.import_now").request_id = view.record.request_id
        row.operator("layert2v.dismiss").request_id = view.record.request_id

    def _draw_failed(self, view: JobView) -> None:
        box, record = self.layout.box(), view.record
        box.label(text=_title(view))
        draw_sentence(box, record.error, "ERROR")
        if record.remedy:
            draw_sentence(box, record.remedy)
        row = box.row(align=True)
        # The label says whether it costs a new job.
        label = "Generate Again" if record.is_over else "Try Again"
        row.operator("layert2v.retry", text=label).request_id = record.request_id
        row.operator("layert2v.dismiss").request_id = record.request_id

    def _draw_notice(self, view: JobView) -> None:
        box = self.layout.box()
        box.label(text=_title(view))
        for line in view.notice.splitlines():
            draw_sentence(box, line, "INFO")
        box.operator("layert2v.dismiss").request_id = view.record.request_id


def _can_start() -> bool:
    """Whether a backend on this computer can be started from here."""
    address = runtime.session.address if runtime.session else default_address()
    return parse_address(address).is_local and not runtime.launcher.is_running


def _title(view: JobView) -> str:
    record = view.record
    if record.layer_index >= 0:
        layer = record.asked.layers[record.layer_index]
        return f"{layer_name(record.layer_index).capitalize()}: {layer.prompt}"
    return record.asked.prompt or ", ".join(layer.prompt for layer in record.asked.layers)


CLASSES = (LAYERT2V_PT_jobs,)
