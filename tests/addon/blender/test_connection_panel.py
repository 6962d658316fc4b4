import sys

from support.blender_session import (
    fill_shot,
    pump_until,
)
from support.checked_layout import draw


def begin(bpy, backend):
    from blender_addon.scene.runtime import runtime

    backend.script.hold = True
    fill_shot(bpy, "a red ball")
    bpy.ops.layert2v.generate()
    pump_until(lambda: any(view.progress for view in runtime.board.active), "progress")


def test_the_backend_panel_shows_the_link_and_its_version(saved):
    notes = draw(saved, "LAYERT2V_PT_connection")

    assert "Connected, version 0.1.0" in notes
    assert "layert2v.backend_start" not in notes


def test_the_backend_panel_says_why_there_is_no_link(saved, backend):
    from blender_addon.scene.runtime import runtime

    backend.stop()
    runtime.session.probe()
    pump_until(lambda: runtime.board.is_up is False, "the lost link")

    assert "Start the backend or correct its" in " ".join(draw(saved, "LAYERT2V_PT_connection"))


def test_the_preferences_can_be_drawn(saved):
    draw(saved, "preferences")


def test_a_model_that_is_denoising_is_loaded(saved, backend):
    from blender_addon.scene.runtime import runtime

    backend.script.is_model_loaded = False
    runtime.session.probe()
    pump_until(lambda: not runtime.board.info.is_model_loaded, "the news")
    assert "model not loaded yet" in draw(saved, "LAYERT2V_PT_connection")[0]

    begin(saved, backend)

    assert "not loaded" not in draw(saved, "LAYERT2V_PT_connection")[0]


def test_an_intended_stop_is_no_error_and_a_failed_start_says_why(bpy, backend, tmp_path):
    from blender_addon.core.launcher import LaunchState
    from blender_addon.scene.runtime import runtime

    script = tmp_path / "backend.py"
    script.write_text("import sys; sys.stdin.read()")
    address = f"127.0.0.1:{backend.port}"
    backend.stop()
    bpy.ops.layert2v.backend_start(command=f"{sys.executable} {script}", address=address)
    pump_until(lambda: runtime.board.is_up is False, "the news")
    bpy.ops.layert2v.backend_stop()
    pump_until(lambda: runtime.launcher.state is LaunchState.STOPPED, "the end")
    assert draw(bpy, "LAYERT2V_PT_connection")[0] == "Stopped"

    script.write_text("raise SystemExit('layert2v-backend: another backend uses the folder X')")
    bpy.ops.layert2v.backend_start(command=f"{sys.executable} {script}", address=address)
    pump_until(lambda: runtime.launcher.state is LaunchState.ENDED, "the end")

    told = " ".join(draw(bpy, "LAYERT2V_PT_connection"))
    assert "The backend did not start: another backend uses the folder X." in told
    assert "No backend answers" not in told


def test_a_backend_that_answers_is_not_started_again(saved, backend):
    from blender_addon.scene.runtime import runtime

    result = saved.ops.layert2v.backend_start(command=sys.executable, address=backend.address)

    assert result == {"CANCELLED"}
    assert not runtime.launcher.is_running
