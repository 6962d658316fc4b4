import sys

import pytest

from blender_addon.core import launcher as launcher_module
from blender_addon.core.launcher import (
    BackendNotFound,
    LaunchCommand,
    Launcher,
    LaunchState,
    find_command,
)
from support.waiting import await_that

SERVES = """
import pathlib, sys
arguments = sys.argv[1:]
ready = pathlib.Path(arguments[arguments.index("--ready-file") + 1])
print("serving", arguments, flush=True)
ready.write_text("x")
sys.stdin.read()
ready.unlink()
"""
FAILS = "import sys; print('port in use', file=sys.stderr); sys.exit(2)"
HANGS = "import threading; threading.Event().wait()"


@pytest.fixture
def launcher():
    opened = Launcher()
    yield opened
    opened.close(0.1)


def start(launcher, program, tmp_path, **others):
    script = tmp_path / "backend.py"
    script.write_text(program)
    command = LaunchCommand((sys.executable, str(script)))
    launcher.start(command, "127.0.0.1:1", **others)


def wait_for(launcher, state):
    await_that(lambda: launcher.state is state, str(state))


def test_a_backend_is_started_reports_readiness_and_stops_with_its_input(launcher, tmp_path):
    assert launcher.state is LaunchState.STOPPED
    start(launcher, SERVES, tmp_path, state_folder="here")
    wait_for(launcher, LaunchState.SERVING)
    assert "'--listen', '127.0.0.1:1', '--stop-with-stdin'" in launcher.log_tail()
    assert "'--state', 'here'" in launcher.log_tail()

    launcher.stop()

    wait_for(launcher, LaunchState.STOPPED)
    assert launcher.exit_code == 0
    assert not launcher.is_running


def test_starting_and_stopping_do_not_block(launcher, tmp_path):
    start(launcher, HANGS, tmp_path)
    assert launcher.state is LaunchState.STARTING
    launcher.stop()

    assert launcher.state is LaunchState.STOPPING
    assert launcher.is_running


def test_a_second_start_does_nothing_while_one_runs(launcher, tmp_path):
    start(launcher, SERVES, tmp_path)
    wait_for(launcher, LaunchState.SERVING)

    start(launcher, FAILS, tmp_path)

    assert launcher.state is LaunchState.SERVING


def test_a_backend_that_ends_by_itself_shows_why_and_can_be_started_again(launcher, tmp_path):
    start(launcher, FAILS, tmp_path)
    wait_for(launcher, LaunchState.ENDED)
    assert launcher.exit_code == 2
    assert "port in use" in launcher.log_tail()

    start(launcher, SERVES, tmp_path)

    wait_for(launcher, LaunchState.SERVING)


def test_a_backend_that_does_not_stop_is_killed_at_the_end(launcher, tmp_path):
    start(launcher, HANGS, tmp_path)

    launcher.close(0.05)

    assert launcher.state is LaunchState.STOPPED
    assert launcher.log_tail() == ""


def test_a_command_that_cannot_run_says_so(launcher, tmp_path):
    with pytest.raises(BackendNotFound, match="Correct the backend command"):
        launcher.start(LaunchCommand((str(tmp_path / "none"),)), "127.0.0.1:1")


def test_the_command_is_found_on_path(tmp_path, monkeypatch):
    program = tmp_path / "layert2v-backend"
    program.write_text("#!/bin/sh\n")
    program.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path))

    assert find_command("").arguments == (str(program),)
    assert find_command("layert2v-backend --flag").arguments == ("layert2v-backend", "--flag")


def test_no_command_says_how_to_install_one(monkeypatch, tmp_path):
    monkeypatch.setenv("PATH", str(tmp_path))

    with pytest.raises(BackendNotFound, match=r"README\.md.*Backend Command"):
        find_command("")
    with pytest.raises(BackendNotFound, match="'nothing' does not exist"):
        find_command("nothing at all")


def test_an_interpreter_or_a_virtual_environment_will_do(tmp_path):
    assert find_command(sys.executable).arguments == (sys.executable, "-m", "layert2v_backend")
    with pytest.raises(BackendNotFound, match="holds no 'layert2v-backend'"):
        find_command(str(tmp_path))
    (tmp_path / "bin").mkdir()
    (tmp_path / "bin" / "layert2v-backend").write_text("")
    assert find_command(str(tmp_path)).arguments == (str(tmp_path / "bin/layert2v-backend"),)


def test_windows_paths_keep_their_backslashes(monkeypatch):
    monkeypatch.setattr(launcher_module.os, "name", "nt")

    words = launcher_module._split(r'"C:\Program Files\l.exe" --x')

    assert words == [r"C:\Program Files\l.exe", "--x"]


@pytest.mark.parametrize(
    ("program", "sentence"),
    [
        (
            "import sys; sys.exit('layert2v-backend: another backend uses the state folder X')",
            "The backend did not start: another backend uses the state folder X.",
        ),
        (
            """print('{"level": "error", "message": "no space left"}'); raise SystemExit(3)""",
            "The backend ended with code 3: no space left",
        ),
        (
            """print('{"level": "info", "event": "attempt_began"}'); raise SystemExit(3)""",
            "The backend ended with code 3.",
        ),
        (
            "print('serving layert2v.v1 on unix:/x'); raise SystemExit(3)",
            "The backend ended with code 3.",
        ),
        ("print('[1]'); raise SystemExit(3)", "The backend ended with code 3: [1]"),
        ("raise SystemExit(3)", "The backend ended with code 3."),
    ],
)
def test_a_failed_start_is_told_in_a_sentence(launcher, tmp_path, program, sentence):
    start(launcher, program, tmp_path)
    wait_for(launcher, LaunchState.ENDED)

    assert launcher.failure() == sentence


def test_a_stop_that_was_asked_for_is_no_failure(launcher, tmp_path):
    start(launcher, SERVES, tmp_path)
    wait_for(launcher, LaunchState.SERVING)
    assert not launcher.is_stopped_on_purpose

    launcher.stop()
    wait_for(launcher, LaunchState.STOPPED)

    assert launcher.is_stopped_on_purpose
