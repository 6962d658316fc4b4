"""What becomes of jobs when Blender ends, or opens another file, before they are done."""

import sys

from support.blender_session import (
    connect,
    fill_shot,
    fresh_blender,
    pump_until,
    wait_for_settled,
)


def strips_of(bpy):
    from blender_addon import compat

    return sorted(strip.name for strip in compat.all_strips(bpy.context.scene))


def begin(bpy, backend, path):
    """Generate in a saved file and wait until the backend has the job."""
    from blender_addon.scene.runtime import runtime

    bpy.ops.wm.save_as_mainfile(filepath=str(path))
    connect(bpy, backend.address)
    backend.script.hold = True
    fill_shot(bpy, "a red ball")
    bpy.ops.layert2v.generate()
    pump_until(lambda: any(view.progress for view in runtime.board.active), "progress")
    bpy.ops.wm.save_mainfile()


def test_a_running_job_is_found_again_by_the_next_blender(backend, tmp_path):
    with fresh_blender() as bpy:
        begin(bpy, backend, tmp_path / "edit.blend")
    backend.finish()

    with fresh_blender() as bpy:
        bpy.ops.wm.open_mainfile(filepath=str(tmp_path / "edit.blend"))
        bpy.ops.layert2v.connect(address=backend.address)
        pump_until(lambda: bool(strips_of(bpy)), "the import")
        wait_for_settled()

        assert strips_of(bpy) == ["Background", "Foreground 1", "Full", "Matte 1"]
        assert len(backend.jobs) == 1


def test_a_take_is_never_imported_twice(backend, tmp_path):
    with fresh_blender() as bpy:
        begin(bpy, backend, tmp_path / "edit.blend")
        backend.finish()
        wait_for_settled()
        bpy.ops.wm.save_mainfile()
        # As if Blender had ended between the import and its note in the journal.
        from dataclasses import replace

        from blender_addon.core.journal import Journal
        from blender_addon.core.records import RecordState
        from blender_addon.scene.runtime import runtime

        (view,) = runtime.board.jobs.values()
    journal = Journal.of_media(tmp_path / "layert2v")
    journal.append(replace(view.record, state=RecordState.READY))

    with fresh_blender() as bpy:
        bpy.ops.wm.open_mainfile(filepath=str(tmp_path / "edit.blend"))
        connect(bpy, backend.address)
        pump_until(
            lambda: journal.records()[view.record.request_id].state is RecordState.IMPORTED,
            "the note",
        )

        assert len(strips_of(bpy)) == 4


def test_a_request_that_was_never_acknowledged_is_sent_again_once(backend, tmp_path):
    from dataclasses import replace

    from blender_addon.core.journal import Journal
    from blender_addon.core.records import RecordState

    with fresh_blender() as bpy:
        begin(bpy, backend, tmp_path / "edit.blend")
    journal = Journal.of_media(tmp_path / "layert2v")
    (record,) = journal.records().values()
    journal.append(replace(record, state=RecordState.SUBMITTING, job="", last_sequence=0))
    backend.finish()

    with fresh_blender() as bpy:
        bpy.ops.wm.open_mainfile(filepath=str(tmp_path / "edit.blend"))
        connect(bpy, backend.address)
        pump_until(lambda: len(strips_of(bpy)) == 4, "the import")

    assert len(backend.jobs) == 1
    assert len(backend.script.create_requests) == 2


def test_a_take_waits_for_its_own_file(bpy, backend, tmp_path):
    from blender_addon.scene.runtime import runtime

    begin(bpy, backend, tmp_path / "edit.blend")
    bpy.ops.wm.read_homefile(use_empty=True)
    backend.finish()
    pump_until(lambda: bool(runtime.board.ready), "the take")
    assert strips_of(bpy) == []

    bpy.ops.wm.open_mainfile(filepath=str(tmp_path / "edit.blend"))
    wait_for_settled()

    assert len(strips_of(bpy)) == 4


def test_a_lost_link_in_the_middle_of_a_job_costs_nothing(bpy, backend, tmp_path):
    from blender_addon.scene.runtime import runtime

    begin(bpy, backend, tmp_path / "edit.blend")
    backend.stop()
    pump_until(lambda: runtime.board.is_up is False, "the lost link")
    backend.start()
    backend.finish()
    wait_for_settled()

    assert len(strips_of(bpy)) == 4
    assert len(backend.jobs) == 1


def test_a_take_does_not_go_into_another_file(bpy, backend, tmp_path):
    from blender_addon.scene.pump import pump
    from blender_addon.scene.runtime import runtime

    begin(bpy, backend, tmp_path / "edit.blend")
    bpy.ops.wm.read_homefile(use_empty=True)
    bpy.ops.wm.save_as_mainfile(filepath=str(tmp_path / "other.blend"))
    backend.finish()
    pump_until(lambda: bool(runtime.board.ready), "the take")
    pump()

    assert strips_of(bpy) == []


def test_session_jobs_and_local_backend_survive_registering_again(bpy, backend, tmp_path):
    import blender_addon
    from blender_addon.scene import pump
    from blender_addon.scene.runtime import runtime

    script = tmp_path / "backend.py"
    script.write_text("import sys; sys.stdin.read()")
    command = f"{sys.executable} {script}"
    bpy.ops.layert2v.backend_start(command=command, address=backend.address)
    begin(bpy, backend, tmp_path / "edit.blend")
    session = runtime.session

    blender_addon.unregister()
    blender_addon.register()
    pump.close_if_gone()

    assert runtime.launcher.is_running
    assert runtime.session is session
    assert len(runtime.board.active) == 1
    backend.finish()
    wait_for_settled()
    assert len(strips_of(bpy)) == 4


def test_what_was_started_ends_when_the_add_on_is_gone(bpy, backend, tmp_path):
    import blender_addon
    from blender_addon.scene import pump
    from blender_addon.scene.runtime import runtime

    connect(bpy, backend.address)
    blender_addon.unregister()
    assert runtime.session is not None
    pump.close_if_gone()

    assert runtime.session is None
    blender_addon.register()
