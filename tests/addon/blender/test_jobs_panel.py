from layert2v.v1 import job_pb2
from support.blender_session import (
    fill_shot,
    generate,
    pump_until,
    select,
    strip_named,
    wait_for_settled,
)
from support.checked_layout import draw
from support.fake_backend import invalid_shot

NO_JOBS = ["No jobs", "layert2v.import_take"]


def lose_link(backend):
    from blender_addon.scene.runtime import runtime

    backend.stop()
    runtime.session.probe()
    pump_until(lambda: runtime.board.is_up is False, "the lost link")


def begin(bpy, backend):
    from blender_addon.scene.runtime import runtime

    backend.script.hold = True
    fill_shot(bpy, "a red ball")
    bpy.ops.layert2v.generate()
    pump_until(lambda: any(view.progress for view in runtime.board.active), "progress")


def test_a_running_job_shows_progress_and_cancel(saved, backend):
    from blender_addon.scene.runtime import runtime

    backend.script.hold = True
    fill_shot(saved, "a red ball")
    saved.ops.layert2v.generate()
    pump_until(
        lambda: any(view.progress and view.progress.step == 2 for view in runtime.board.active),
        "progress",
    )

    notes = draw(saved, "LAYERT2V_PT_jobs")

    assert "denoising 2/2, 1 s left" in notes
    assert "layert2v.cancel" in notes


def test_a_failed_job_shows_its_sentence_and_what_to_do(saved, backend):
    backend.script.refusals["CreateJob"].append(invalid_shot("shot.width", "97: choose 96."))
    generate(saved, "a red ball")

    notes = draw(saved, "LAYERT2V_PT_jobs")

    assert "shot.width: 97: choose 96." in notes
    assert "layert2v.retry" in notes


def test_an_empty_foreground_is_told_when_it_arrives_until_dismissed(saved, backend):
    backend.script.empty_frames = [0, 9]
    generate(saved, "a red ball", "a blue ball")

    notes = draw(saved, "LAYERT2V_PT_jobs")
    told = " ".join(notes)
    saved.ops.layert2v.dismiss()

    assert "Foreground 2 is empty in take 1" in told
    assert "Foreground 1" not in told
    assert draw(saved, "LAYERT2V_PT_jobs") == NO_JOBS
    select(saved, strip_named(saved, "Foreground 2"))
    assert "is empty in all 9 frames" in " ".join(draw(saved, "LAYERT2V_PT_layer"))


def test_a_foreground_that_comes_late_is_told_with_its_layer_only(saved, backend):
    backend.script.empty_frames = [6]
    generate(saved, "a red ball")

    assert draw(saved, "LAYERT2V_PT_jobs") == NO_JOBS
    select(saved, strip_named(saved, "Foreground 1"))
    assert "The foreground is missing in 6 of 9 frames." in draw(saved, "LAYERT2V_PT_layer")


def test_a_job_whose_backend_is_gone_says_that_it_waits_and_offers_to_start_one(saved, backend):
    begin(saved, backend)
    lose_link(backend)

    notes = draw(saved, "LAYERT2V_PT_jobs")

    assert "Waiting for the backend" in notes
    assert "layert2v.backend_start" in notes
    assert not any("denoising" in note for note in notes)


def test_a_row_names_the_layer_as_the_layer_panel_does(saved, backend):
    generate(saved, "a red ball")
    select(saved, strip_named(saved, "Foreground 1"))
    backend.script.fail_with = job_pb2.JobError(reason="X", message="A fault.")
    saved.ops.layert2v.regenerate()
    wait_for_settled()

    assert "Foreground 1: a red ball" in draw(saved, "LAYERT2V_PT_jobs")


def test_a_cancel_that_is_not_heard_yet_can_be_dismissed_from_its_row(saved, backend):
    from blender_addon.scene.runtime import runtime

    begin(saved, backend)
    lose_link(backend)
    saved.ops.layert2v.cancel()
    pump_until(lambda: runtime.board.active[0].record.is_cancel_pending, "the promise")

    notes = draw(saved, "LAYERT2V_PT_jobs")
    assert "The cancel waits for the backend" in notes
    assert "layert2v.dismiss" in notes
    assert "layert2v.cancel" not in notes
    saved.ops.layert2v.dismiss()
    assert draw(saved, "LAYERT2V_PT_jobs") == NO_JOBS


def test_a_waiting_take_says_why_and_offers_import_and_dismissal(saved, backend):
    from blender_addon import compat
    from blender_addon.scene.runtime import runtime

    generate(saved, "a red ball")
    select(saved, strip_named(saved, "Foreground 1"))
    saved.ops.layert2v.regenerate(prompt="a green ball")
    compat.strips(saved.context.scene.sequence_editor).remove(strip_named(saved, "Foreground 1"))
    pump_until(lambda: any(view.waiting for view in runtime.board.ready), "the take")

    notes = draw(saved, "LAYERT2V_PT_jobs")

    assert "The strips of foreground 1 were deleted" in " ".join(notes)
    assert "layert2v.import_now" in notes
    assert "layert2v.dismiss" in notes


def test_a_take_of_another_file_is_named_with_its_file_and_prompt(saved, backend, tmp_path):
    from blender_addon.scene.runtime import runtime

    begin(saved, backend)
    saved.ops.wm.read_homefile(use_empty=True)
    saved.ops.wm.save_as_mainfile(filepath=str(tmp_path / "other.blend"))
    backend.finish()
    pump_until(lambda: any(view.waiting for view in runtime.board.ready), "the take")

    told = " ".join(draw(saved, "LAYERT2V_PT_jobs"))

    assert "a red ball" in told
    assert "edit.blend" in told
    assert "layert2v.import_now" not in told


def test_a_running_job_of_another_file_is_named_with_its_file(saved, backend):
    begin(saved, backend)
    assert not any("edit.blend" in note for note in draw(saved, "LAYERT2V_PT_jobs"))

    saved.ops.wm.read_homefile(use_empty=True)

    assert "For edit.blend" in draw(saved, "LAYERT2V_PT_jobs")
    backend.finish()


def test_a_failed_job_of_another_file_is_only_counted(saved, backend, tmp_path):
    backend.script.refusals["CreateJob"].append(invalid_shot("shot.width", "97: choose 96."))
    generate(saved, "a red ball")
    saved.ops.wm.read_homefile(use_empty=True)
    saved.ops.wm.save_as_mainfile(filepath=str(tmp_path / "other.blend"))

    notes = draw(saved, "LAYERT2V_PT_jobs")

    assert notes[0] == "Failed in other files: 1"
    assert "layert2v.retry" not in notes
