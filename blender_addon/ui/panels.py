# SPDX-License-Identifier: GPL-3.0-or-later
"""Panels in the sequencer's sidebar. They draw what the board and the scene say, nothing else."""

from pathlib import Path
from typing import Any

import bpy

from layert2v_client import Model, default_address, parse_address
from layert2v_words import FULL

from .. import compat
from ..core.board import JobView
from ..core.launcher import LaunchState
from ..core.records import RecordState
from ..core.shots import layer_name, seed_problem
from ..scene import project, provenance
from ..scene.runtime import runtime
from .drawing import LINE_CHARS, draw_sentence
from .words import draw_unknown_words, draw_words_button


class SidebarPanel:
    """A panel under LayerT2V in the sequencer's sidebar."""

    bl_space_type = "SEQUENCE_EDITOR"
    bl_region_type = "UI"
    bl_category = "LayerT2V"


class LAYERT2V_PT_connection(SidebarPanel, bpy.types.Panel):
    """The link to the backend."""

    bl_label = "Backend"
    bl_idname = "LAYERT2V_PT_connection"
    bl_order = 3

    def draw(self, context: bpy.types.Context) -> None:
        """Draw the link's state and its buttons."""
        layout, board = self.layout, runtime.board
        address = runtime.session.address if runtime.session else default_address()
        is_ours = runtime.launcher.address == address
        has_failed = is_ours and not board.is_up and runtime.launcher.state is LaunchState.ENDED
        if board.is_up and board.info:
            is_loaded = board.info.is_model_loaded or board.is_working
            loading = "" if is_loaded else ", model not loaded yet"
            text = f"Connected, version {board.info.version}{loading}"
            layout.label(text=text, icon="CHECKMARK")
        elif has_failed:
            draw_sentence(layout, runtime.launcher.failure(), "ERROR")
        elif is_ours and (runtime.launcher.is_running or runtime.launcher.is_stopped_on_purpose):
            layout.label(text=str(runtime.launcher.state).capitalize(), icon="UNLINKED")
        elif runtime.session and board.is_up is False:
            draw_sentence(layout, board.message, "ERROR")
            draw_sentence(layout, board.remedy)
        else:
            layout.label(text="Not connected", icon="UNLINKED")
        layout.label(text=address if len(address) < LINE_CHARS else f"...{address[-43:]}")
        row = layout.row(align=True)
        row.operator("layert2v.connect")
        if runtime.launcher.is_running:
            row.operator("layert2v.backend_stop")
        elif not board.is_up:
            row.operator("layert2v.backend_start")
        if has_failed:
            layout.operator("layert2v.backend_log")
        if runtime.launcher.is_running and board.active:
            draw_sentence(
                layout, "Quitting Blender stops this backend; jobs go on at its next start."
            )


class LAYERT2V_PT_shot(SidebarPanel, bpy.types.Panel):
    """The next shot."""

    bl_label = "Shot"
    bl_idname = "LAYERT2V_PT_shot"
    bl_order = 0

    def draw(self, context: bpy.types.Context) -> None:
        """Draw prompts, seed, size and Generate."""
        layout = self.layout
        scene = compat.sequencer_scene(context)
        if scene is None:
            layout.label(text="Pick a scene for the sequencer", icon="INFO")
            layout.template_ID(
                context.workspace, "sequencer_scene", new="scene.new_sequencer_scene"
            )
            return
        if not compat.is_editable(scene):
            draw_sentence(
                layout, "This scene is linked from another file: open that file.", "LOCKED"
            )
            return
        shot = scene.layert2v
        model = runtime.board.model(shot.model)
        layout.prop(shot, "prompt", placeholder="empty: all layers together")
        draw_unknown_words(layout, model, FULL, shot.prompt)
        row = layout.row(align=True)
        row.prop(shot, "background")
        draw_words_button(row, model, 0)
        draw_unknown_words(layout, model, 0, shot.background)
        self._draw_foregrounds(layout, shot, model)
        layout.prop(shot, "negative_prompt", text="Negative")
        self._draw_seed(layout, shot)
        self._draw_limits(layout, shot)
        layout.operator("layert2v.generate", icon="RENDER_ANIMATION")
        _draw_warnings(layout, scene)

    @staticmethod
    def _draw_seed(layout: Any, shot: Any) -> None:
        # Wide enough for the nineteen digits that a layer's seed has.
        split = layout.split(factor=0.78, align=True)
        field = split.row(align=True)
        # A seed that the next shot will not have cannot be written.
        field.enabled = not shot.is_seed_random
        field.prop(shot, "seed", placeholder="new each time")
        field.operator("layert2v.random_seed", text="", icon="FILE_REFRESH")
        split.prop(shot, "is_seed_random", text="Random", toggle=True)
        problem = "" if shot.is_seed_random else seed_problem(shot.seed)
        if problem:
            draw_sentence(layout, problem, "ERROR")

    @staticmethod
    def _draw_foregrounds(layout: Any, shot: Any, model: Model | None) -> None:
        layout.label(text="Foregrounds, farthest first")
        for index in range(len(shot.foregrounds)):
            # A label of its own: that of a property takes a third of the row.
            split = layout.split(factor=0.06, align=True)
            split.label(text=str(index + 1))
            row = split.row(align=True)
            row.prop(shot.foregrounds[index], "prompt", text="")
            draw_words_button(row, model, index + 1)
            for step, icon in ((-1, "TRIA_UP"), (1, "TRIA_DOWN")):
                move = row.operator("layert2v.foreground_move", text="", icon=icon)
                move.index, move.step = index, step
            row.operator("layert2v.foreground_remove", text="", icon="X").index = index
            draw_unknown_words(layout, model, index + 1, shot.foregrounds[index].prompt)
        layout.operator("layert2v.foreground_add", icon="ADD")

    @staticmethod
    def _draw_limits(layout: Any, shot: Any) -> None:
        model = runtime.board.model(shot.model)
        if model is None:
            layout.label(text="Connect to choose model and size", icon="INFO")
            return
        width, height = (shot.width, shot.height) if shot.width else model.sizes[0]
        if len(runtime.board.models) > 1:
            layout.menu("LAYERT2V_MT_model", text=model.id)
        row = layout.row(align=True)
        row.menu("LAYERT2V_MT_size", text=f"{width} x {height}")
        frames = shot.num_frames or model.num_frames[0]
        row.menu("LAYERT2V_MT_frames", text=f"{frames} frames at {model.fps:g} fps")


def _draw_warnings(layout: Any, scene: Any) -> None:
    transform = scene.view_settings.view_transform
    space = scene.sequencer_colorspace_settings.name
    if transform != compat.STANDARD or space not in compat.SRGB_NAMES:
        text = f"View transform {transform}, sequencer {space}: layers will look different."
        draw_sentence(layout, text, "ERROR")
        layout.operator("layert2v.set_view_transform")


class _MenuOfLimits(bpy.types.Menu):
    """A menu of what the shot's model offers."""

    bl_label = ""

    def model(self, context: Any) -> Any:
        """Give the shot's model, or None."""
        return runtime.board.model(compat.sequencer_scene(context).layert2v.model)


class LAYERT2V_MT_size(_MenuOfLimits):
    """Picture sizes of the model."""

    bl_idname = "LAYERT2V_MT_size"
    bl_label = "Size"

    def draw(self, context: bpy.types.Context) -> None:
        """List them."""
        for width, height in self.model(context).sizes if self.model(context) else ():
            item = self.layout.operator("layert2v.set_size", text=f"{width} x {height}")
            item.width, item.height = width, height


class LAYERT2V_MT_frames(_MenuOfLimits):
    """Lengths of the model."""

    bl_idname = "LAYERT2V_MT_frames"
    bl_label = "Frames"

    def draw(self, context: bpy.types.Context) -> None:
        """List them."""
        for num_frames in self.model(context).num_frames if self.model(context) else ():
            text = f"{num_frames} frames"
            self.layout.operator("layert2v.set_frames", text=text).num_frames = num_frames


class LAYERT2V_MT_model(bpy.types.Menu):
    """Models of the backend."""

    bl_idname = "LAYERT2V_MT_model"
    bl_label = "Model"

    def draw(self, context: bpy.types.Context) -> None:
        """List them."""
        for model in runtime.board.models:
            text = f"{model.id}: {model.description}"
            self.layout.operator("layert2v.set_model", text=text).model = model.id


class LAYERT2V_PT_jobs(SidebarPanel, bpy.types.Panel):
    """What runs, what failed and what waits."""

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
            self.layout.label(text=f"{num_elsewhere} failed in other files", icon="INFO")
        elif is_empty:
            self.layout.label(text="No jobs")
        self.layout.operator("layert2v.import_take", text="Import Take from Disk...")

    def _draw_view(self, view: JobView) -> bool:
        """Draw a request where there is something to say of it."""
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
    def _draw_out_of_reach(box: Any, view: JobView) -> None:
        is_cancel = view.record.is_cancel_pending
        text = "Cancelled once the backend answers" if is_cancel else "Waiting for the backend"
        # On a line of its own: beside buttons it would be cut.
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
        # What costs a new job says so.
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


class LAYERT2V_PT_layer(SidebarPanel, bpy.types.Panel):
    """The selected strip's layer and its takes."""

    bl_label = "Layer"
    bl_idname = "LAYERT2V_PT_layer"
    bl_order = 1

    @classmethod
    def poll(cls, context: bpy.types.Context) -> bool:
        """Only with a generated strip selected."""
        scene = compat.sequencer_scene(context)
        return scene is not None and _described(scene) is not None

    def draw(self, context: bpy.types.Context) -> None:
        """Draw the layer's recipe and what can be done with it."""
        layout = self.layout
        described = _described(compat.sequencer_scene(context))
        layout.label(text=f"{layer_name(described.layer).capitalize()}, take {described.take}")
        draw_sentence(layout, described.prompt)
        layout.label(text=f"Seed {described.seed}, model {described.model}")
        for line in described.notice.splitlines():
            draw_sentence(layout, line, "INFO")
        row = layout.row(align=True)
        row.operator("layert2v.step_take", text="Previous Take", icon="TRIA_LEFT").step = -1
        row.operator("layert2v.step_take", text="Next Take", icon="TRIA_RIGHT").step = 1
        if described.layer >= 0:
            layout.operator("layert2v.regenerate", text="Regenerate with New Prompt...")
            layout.operator_context = "EXEC_DEFAULT"
            layout.operator("layert2v.regenerate", text="Regenerate with New Seed")
            # All layouts of a panel share it, and what follows asks first.
            layout.operator_context = "INVOKE_REGION_WIN"
        layout.operator("layert2v.match_scene", text="Match Scene to This Take...")
        layout.operator_menu_enum("layert2v.show_format", "format", text="Image Files of Shot")


def _described(scene: Any) -> Any:
    return provenance.read_or_none(compat.active_strip(scene))


def draw_in_add_menu(self: Any, context: bpy.types.Context) -> None:
    """Offer takes on disk in the sequencer's Add menu, so that search finds them too."""
    self.layout.separator()
    self.layout.operator("layert2v.import_take", text="Import Take...", icon="RENDERLAYERS")


def draw_in_strip_menu(self: Any, context: bpy.types.Context) -> None:
    """Offer what can be done with a generated strip in the sequencer's Strip menu."""
    self.layout.separator()
    self.layout.operator("layert2v.match_scene")


CLASSES = (
    LAYERT2V_MT_size,
    LAYERT2V_MT_frames,
    LAYERT2V_MT_model,
    LAYERT2V_PT_connection,
    LAYERT2V_PT_jobs,
    LAYERT2V_PT_layer,
    LAYERT2V_PT_shot,
)
