"""A take is imported whole or not at all, once, and by itself only if nothing speaks against it."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from support.blender_session import (
    fill_shot,
    generate,
    pump_until,
    select,
    strip_named,
    wait_for_settled,
)
from support.waiting import HANG_S

OCIO = Path(__file__).parents[2] / "support" / "studio.ocio"
FOREIGN = """
import os, sys
import bpy
from support.blender_session import connect, fresh_blender, generate
from support.fake_backend import FakeBackend
from blender_addon import compat
from blender_addon.scene.runtime import runtime

with fresh_blender() as bpy, FakeBackend() as backend:
    bpy.ops.wm.save_as_mainfile(filepath=os.path.join(sys.argv[1], "edit.blend"))
    connect(bpy, backend.address)
    generate(bpy, "a red ball")
    strips = compat.all_strips(bpy.context.scene)
    spaces = sorted({strip.colorspace_settings.name for strip in strips})
    failed = [view.record.error for view in runtime.board.failed]
    try:
        bpy.ops.layert2v.set_view_transform()
    except RuntimeError as error:
        told = "has no view 'Standard'" in str(error)
    print("IMPORTED", len(strips), spaces, failed, told, flush=True)
    os._exit(0)
"""


def strips_of(bpy):
    from blender_addon import compat

    return compat.all_strips(bpy.context.scene)


def undo(bpy, name="undo"):
    window = bpy.context.window_manager.windows[0]
    with bpy.context.temp_override(
        window=window, screen=window.screen, area=window.screen.areas[0]
    ):
        getattr(bpy.ops.ed, name)()


def push_undo(message):
    from blender_addon import compat

    compat.push_undo(message)


def hold_a_job(bpy, backend, *prompts):
    """Generate, and wait until the backend has the job."""
    from blender_addon.scene.runtime import runtime

    backend.script.hold = True
    fill_shot(bpy, *prompts)
    bpy.ops.layert2v.generate()
    pump_until(lambda: any(view.progress for view in runtime.board.active), "progress")


def wait_for_ready():
    from blender_addon.scene.runtime import runtime

    pump_until(lambda: bool(runtime.board.ready and runtime.board.ready[0].waiting), "the take")
    return runtime.board.ready[0]


@pytest.mark.slow
def test_a_configuration_without_srgb_reads_takes_by_role(tmp_path):
    script = tmp_path / "foreign.py"
    script.write_text(FOREIGN)
    root = Path(__file__).parents[3]
    paths = [str(root), str(root / "tests"), str(root / "proto"), os.environ.get("PYTHONPATH", "")]
    environment = {**os.environ, "OCIO": str(OCIO), "PYTHONPATH": os.pathsep.join(paths)}

    result = subprocess.run(
        [sys.executable, str(script), str(tmp_path)],
        capture_output=True,
        text=True,
        env=environment,
        timeout=HANG_S,
    )

    assert "IMPORTED 4 ['studio_8bit'] [] True" in result.stdout, result.stdout + result.stderr


def test_an_import_that_fails_leaves_nothing_and_becomes_a_failed_row(saved, backend, monkeypatch):
    from blender_addon.scene import provenance
    from blender_addon.scene.pump import pump
    from blender_addon.scene.runtime import runtime

    write, calls = provenance.write, []

    def stumble(*arguments):
        calls.append(1)
        if len(calls) == 3:
            raise TypeError("no such space")
        write(*arguments)

    monkeypatch.setattr(provenance, "write", stumble)
    generate(saved, "a red ball")
    pump()

    (view,) = runtime.board.failed
    assert not strips_of(saved)
    assert len(calls) == 3
    assert "no such space" in view.record.error
    monkeypatch.setattr(provenance, "write", write)
    saved.ops.layert2v.retry()
    assert len(strips_of(saved)) == 4
    assert not runtime.board.failed
    assert len(backend.script.create_requests) == 1


def test_a_layer_that_cannot_be_replaced_stays_as_it_was(saved, backend, monkeypatch):
    from blender_addon.scene import provenance
    from blender_addon.scene.runtime import runtime

    generate(saved, "a red ball")
    select(saved, strip_named(saved, "Foreground 1"))
    before = {s.name: (s.directory, s["layert2v"]["take"]) for s in strips_of(saved)}
    write, calls = provenance.write, []

    def stumble(*arguments):
        calls.append(1)
        if len(calls) == 2:
            raise TypeError("no such space")
        write(*arguments)

    monkeypatch.setattr(provenance, "write", stumble)
    saved.ops.layert2v.regenerate(prompt="a green ball")
    wait_for_settled()

    assert {s.name: (s.directory, s["layert2v"]["take"]) for s in strips_of(saved)} == before
    assert len(runtime.board.failed) == 1


def test_a_take_on_disk_is_imported_without_the_backend(saved, backend, monkeypatch):
    from blender_addon.core.channels import NoFreeChannels
    from blender_addon.scene import new_strips
    from blender_addon.scene.runtime import runtime

    place = new_strips.import_take

    def no_room(*_):
        raise NoFreeChannels("Move some strips")

    monkeypatch.setattr(new_strips, "import_take", no_room)
    generate(saved, "a red ball")
    monkeypatch.setattr(new_strips, "import_take", place)
    backend.stop()
    runtime.session.probe()
    pump_until(lambda: runtime.board.is_up is False, "the lost link")

    assert saved.ops.layert2v.retry() == {"FINISHED"}

    assert len(strips_of(saved)) == 4


def test_a_take_whose_cancel_was_asked_is_offered_and_imported_only_when_asked_for(saved, backend):
    from blender_addon.scene.pump import pump
    from blender_addon.scene.runtime import runtime

    hold_a_job(saved, backend, "a red ball")
    backend.stop()
    saved.ops.layert2v.cancel()
    pump_until(lambda: bool(runtime.board.active[0].record.error), "the lost link")
    backend.finish()
    backend.start()
    pump_until(lambda: bool(runtime.board.offered), "the offer")
    pump()
    assert not strips_of(saved)

    saved.ops.layert2v.import_now()
    wait_for_settled()

    assert len(strips_of(saved)) == 4
    assert len(backend.jobs) == 1


def test_a_cancel_that_is_not_heard_can_be_dismissed_and_is_still_sent(saved, backend):
    from blender_addon.scene.runtime import runtime

    hold_a_job(saved, backend, "a red ball")
    backend.stop()
    saved.ops.layert2v.cancel()
    pump_until(lambda: runtime.board.active[0].record.is_cancel_pending, "the promise")
    saved.ops.layert2v.dismiss()
    assert runtime.board.active[0].record.is_dismissed

    backend.start()
    wait_for_settled()

    assert not runtime.board.offered
    assert [view.record.state for view in runtime.board.jobs.values()] == ["cancelled"]


def test_no_operator_that_sends_jobs_can_be_adjusted_afterwards(saved):
    from blender_addon.ui import job_operators, shot_operators

    for operator in (*job_operators.CLASSES, *shot_operators.CLASSES):
        assert "REGISTER" not in operator.bl_options, operator.bl_idname


def test_nothing_is_imported_while_something_can_be_redone(saved, backend):
    from blender_addon.scene.pump import pump
    from blender_addon.scene.runtime import runtime

    hold_a_job(saved, backend, "a red ball")
    saved.context.scene.frame_end = 77
    push_undo("one change")
    saved.context.scene.frame_end = 78
    push_undo("another change")
    undo(saved)
    backend.finish()
    view = wait_for_ready()
    pump()
    assert not strips_of(saved)
    assert "redone" in view.waiting

    undo(saved, "redo")
    assert saved.context.scene.frame_end == 78
    wait_for_settled()

    assert len(strips_of(saved)) == 4
    assert runtime.board.jobs


def test_import_now_does_not_wait_for_what_can_be_redone(saved, backend):
    hold_a_job(saved, backend, "a red ball")
    saved.context.scene.frame_end = 77
    push_undo("one change")
    saved.context.scene.frame_end = 78
    push_undo("another change")
    undo(saved)
    backend.finish()
    wait_for_ready()

    assert saved.ops.layert2v.import_now() == {"FINISHED"}

    assert len(strips_of(saved)) == 4


def test_undoing_past_generate_of_a_file_saved_since_keeps_the_take(saved, backend, tmp_path):
    saved.ops.wm.read_homefile(use_empty=True)
    scene = saved.context.scene
    push_undo("start")
    push_undo("before")
    hold_a_job(saved, backend, "a red ball")
    uid = scene.layert2v.project_uid
    push_undo("Generate")
    saved.ops.wm.save_as_mainfile(filepath=str(tmp_path / "saved_later.blend"))

    undo(saved)
    undo(saved)
    assert saved.context.scene.layert2v.project_uid == uid
    backend.finish()
    view = wait_for_ready()
    assert "redone" in view.waiting
    undo(saved, "redo")
    undo(saved, "redo")
    wait_for_settled()

    assert len(strips_of(saved)) == 4


def test_the_take_of_a_deleted_strip_is_offered_and_comes_to_the_playhead(saved, backend):
    from blender_addon import compat
    from blender_addon.scene.pump import pump

    generate(saved, "a red ball", "a blue ball")
    select(saved, strip_named(saved, "Foreground 1"))
    backend.script.hold = True
    saved.ops.layert2v.regenerate(prompt="a green ball")
    compat.strips(saved.context.scene.sequence_editor).remove(strip_named(saved, "Foreground 1"))
    pump()
    backend_has_two = lambda: len(backend.jobs) == 2  # noqa: E731
    pump_until(backend_has_two, "the job")
    backend.finish()
    view = wait_for_ready()
    pump()

    assert "deleted" in view.waiting
    assert strip_named(saved, "Matte 1")["layert2v"]["take"] == 1
    assert strip_named(saved, "Full")["layert2v"]["take"] == 1
    saved.context.scene.frame_set(40)
    saved.ops.layert2v.import_now()
    new = [s for s in strips_of(saved) if s["layert2v"]["take"] == 2]
    assert sorted({compat.span(s)[0] for s in new}) == [40]
    assert len(new) == 6
    assert {s["layert2v"]["shot"] for s in new}.isdisjoint(
        {s["layert2v"]["shot"] for s in strips_of(saved) if s not in new}
    )


def test_a_strip_that_comes_back_gets_its_take(saved, backend):
    generate(saved, "a red ball")
    select(saved, strip_named(saved, "Foreground 1"))
    backend.script.hold = True
    saved.ops.layert2v.regenerate(prompt="a green ball")
    shown = dict(strip_named(saved, "Foreground 1")["layert2v"])
    strip_named(saved, "Foreground 1")["layert2v"] = {**shown, "shot": "another"}
    pump_until(lambda: len(backend.jobs) == 2, "the job")
    backend.finish()
    wait_for_ready()

    strip_named(saved, "Foreground 1")["layert2v"] = shown
    wait_for_settled()

    assert strip_named(saved, "Foreground 1")["layert2v"]["take"] == 2


def test_regenerating_sends_the_words_of_what_is_shown(saved, backend):
    saved.context.scene.layert2v.prompt = "a red and a blue ball on a beach"
    generate(saved, "a red ball", "a blue ball")
    for name, prompt, full in (
        ("Foreground 1", "a green ball", "a green and a blue ball on a beach"),
        ("Foreground 2", "", ""),
        ("Foreground 2", "a kite", ""),
    ):
        select(saved, strip_named(saved, name))
        saved.ops.layert2v.regenerate(prompt=prompt, full_prompt=full)
        wait_for_settled()

    sent = [
        (request.shot.prompt, [layer.prompt for layer in request.shot.layers])
        for request in backend.script.create_requests[2:]
    ]

    assert sent == [
        ("a green and a blue ball on a beach", ["a beach", "a green ball", "a blue ball"]),
        ("", ["a beach", "a green ball", "a kite"]),
    ]


@pytest.mark.parametrize(("reason", "num_jobs"), [("fetch", 1), ("job", 2)])
def test_trying_again_pays_only_where_the_backend_has_no_take(saved, backend, reason, num_jobs):
    from blender_addon.scene.runtime import runtime
    from layert2v.v1 import job_pb2

    if reason == "fetch":
        backend.script.wrong_files = 10**6
    else:
        backend.script.fail_with = job_pb2.JobError(reason="X", message="A fault.")
    generate(saved, "a red ball")
    (view,) = runtime.board.failed
    assert view.record.is_over is (reason == "job")
    backend.script.wrong_files, backend.script.fail_with = 0, None

    saved.ops.layert2v.retry()
    wait_for_settled()

    assert len(strips_of(saved)) == 4
    assert len(backend.jobs) == num_jobs
    assert not runtime.board.failed


def test_a_row_that_costs_a_new_job_says_so(saved, backend):
    from blender_addon.scene.runtime import runtime
    from blender_addon.ui import jobs_panel
    from layert2v.v1 import job_pb2

    backend.script.fail_with = job_pb2.JobError(reason="X", message="A fault.")
    generate(saved, "a red ball")
    texts = []

    class Layout:
        def __getattr__(self, name):
            def call(*arguments, **named):
                texts.append(named.get("text", ""))
                return Layout()

            return call

    stand_in = type("Panel", (), {"layout": Layout()})()
    jobs_panel.LAYERT2V_PT_jobs._draw_failed(stand_in, runtime.board.failed[0])

    assert "Generate Again" in texts
