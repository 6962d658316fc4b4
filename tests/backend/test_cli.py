import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
import structlog
from typer.testing import CliRunner

from layert2v.v1 import system_pb2
from layert2v_backend.cli import app
from support.backend_process import BACKEND, backend_environment, backend_process
from support.waiting import HANG_S
from support.wire_shots import write_sketch_model

pytestmark = pytest.mark.slow


def run_backend(*arguments: str) -> "subprocess.CompletedProcess[str]":
    environment = backend_environment() | {"COLUMNS": "200", "NO_COLOR": "1"}
    return subprocess.run(
        [*BACKEND, *arguments], capture_output=True, text=True, timeout=HANG_S, env=environment
    )


def test_the_front_door_says_where_it_serves(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with backend_process(tmp_path) as backend:
        assert backend.line == f"serving layert2v.v1 on unix:{tmp_path}/run/b.sock\n"
        with capsys.disabled():
            sys.stdout.write(f"\nfront door serving after {backend.start_s:.2f} s\n")


def test_the_front_door_never_imports_torch() -> None:
    script = (
        "import sys, layert2v_backend.cli, layert2v_backend.models as models; "
        "models.find_models(); "
        "print([name for name in ('torch', 'numpy') if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)

    assert done.stdout == "[]\n"


def test_help_names_every_flag() -> None:
    text = run_backend("serve", "--help").stdout

    for flag in [
        "--listen", "--state", "--models-dir", "--threads", "--prewarm", "--ready-file",
        "--stop-with-stdin", "--memory-bytes", "--offload", "--weights", "--step-cache",
        "--refresh-kept-every", "--compile", "--precision",
    ]:  # fmt: skip
        assert flag in text


def test_models_are_listed(tmp_path: Path) -> None:
    write_sketch_model(tmp_path / "sketch")
    (tmp_path / "broken").mkdir()
    (tmp_path / "broken" / "layert2v.json").write_text("{")

    done = run_backend("models", "--models-dir", str(tmp_path))

    assert done.returncode == 0
    assert "sketch: Limits without weights" in done.stdout
    assert "64x48, 96x64" in done.stdout
    assert "install the model again" in done.stdout


def test_a_folder_without_models_is_named_and_not_called_damaged(tmp_path: Path) -> None:
    result = CliRunner().invoke(app, ["models", "--models-dir", str(tmp_path)])

    assert result.exit_code == 0
    assert f"not used: {tmp_path} is not a model and holds none" in result.output


def test_a_shot_is_estimated_and_one_that_does_not_fit_ends_with_exit_code_1() -> None:
    fits = run_backend("estimate")
    refused = CliRunner().invoke(app, ["estimate", "--memory-bytes", "1000000"])

    assert fits.returncode == 0, fits.stderr
    assert "tokens" in fits.stdout
    assert "all parts stay on the device" in fits.stdout
    assert refused.exit_code == 1
    assert "make the picture smaller" in refused.stdout


@pytest.mark.parametrize(
    ("flags", "words"),
    [
        (["--listen", "0.0.0.0:1"], "needs TLS and a token"),
        (["--threads", "-3"], "--threads"),
        (["--weights", "int3"], "--weights int3"),
        (["--step-cache", "2"], "--step-cache"),
        (["--precision", "float8"], "--precision float8"),
        (["--state", "/proc/nothing/here"], "cannot be made"),
    ],
)
def test_bad_flags_end_with_exit_code_2_and_one_sentence(
    tmp_path: Path, flags: list[str], words: str
) -> None:
    done = run_backend("serve", "--state", str(tmp_path), *flags)

    assert done.returncode == 2
    assert words in done.stderr
    assert "Traceback" not in done.stderr
    assert len(done.stderr.strip().splitlines()) == 1
    assert done.stdout == ""


def test_a_port_in_use_ends_with_exit_code_2(tmp_path: Path) -> None:
    with backend_process(tmp_path) as backend:
        flags = ["--state", str(tmp_path / "other"), "--listen", backend.client.address]
        done = run_backend("serve", *flags)

    assert done.returncode == 2
    assert "stop it or choose another path" in done.stderr


def test_sigterm_drains_and_leaves_nothing_behind(tmp_path: Path) -> None:
    ready = tmp_path / "address"
    with backend_process(tmp_path, "--ready-file", str(ready)) as backend:
        assert ready.read_text() == f"unix:{tmp_path}/run/b.sock\n"
        assert backend.client.system.GetServerInfo(system_pb2.GetServerInfoRequest()).version

        backend.process.send_signal(signal.SIGTERM)

        assert backend.process.wait(HANG_S) == 0
    assert not ready.exists()
    assert not (tmp_path / "run" / "b.sock").exists()


def test_the_backend_stops_with_the_program_that_started_it(tmp_path: Path) -> None:
    with backend_process(tmp_path, "--stop-with-stdin") as backend:
        assert backend.process.stdin is not None

        backend.process.stdin.close()

        assert backend.process.wait(HANG_S) == 0


def test_a_start_that_fails_ends_in_words_while_its_input_is_open(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "layert2v_backend", "serve", "--stop-with-stdin"]
    with backend_process(tmp_path) as backend:
        command += ["--state", str(tmp_path / "other"), "--listen", backend.client.address]
        environment = backend_environment()
        with subprocess.Popen(
            command, stdin=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment
        ) as started:
            assert started.wait(HANG_S) == 2
            assert started.stderr is not None
            assert "stop it or choose another path" in started.stderr.read()


def test_a_start_that_fails_leaves_the_ready_file_of_another_backend(tmp_path: Path) -> None:
    ready = tmp_path / "address"
    with backend_process(tmp_path, "--ready-file", str(ready)) as backend:
        flags = ["--state", str(tmp_path / "other"), "--listen", backend.client.address]
        done = run_backend("serve", *flags, "--ready-file", str(ready))

        assert done.returncode == 2
        assert ready.read_text() == f"{backend.client.address}\n"


@pytest.mark.parametrize(
    ("variable", "value", "arguments", "said"),
    [
        ("LAYERT2V_PRECISION", "half", (), "LAYERT2V_PRECISION half: Input should be 'auto'"),
        ("layert2v_step_cache", "-3", (), "layert2v_step_cache -3: Input should be greater"),
        ("LAYERT2V_MODELS_DIRS", "models", (), "LAYERT2V_MODELS_DIRS: write the list as JSON"),
        ("LAYERT2V_THREADS", "2", ("--threads", "-1"), "--threads -1: Input should be greater"),
    ],
)
def test_a_bad_value_is_reported_under_the_name_by_which_it_was_given(
    monkeypatch: pytest.MonkeyPatch,
    variable: str,
    value: str,
    arguments: tuple[str, ...],
    said: str,
) -> None:
    monkeypatch.setenv(variable, value)

    try:
        result = CliRunner().invoke(app, ["serve", *arguments])
    finally:
        structlog.reset_defaults()  # The command logs to a stream that has gone with the runner.

    assert result.exit_code == 2
    assert f"layert2v-backend: {said}" in result.output


def test_settings_come_from_the_environment(tmp_path: Path) -> None:
    environment = backend_environment() | {
        "LAYERT2V_STATE": str(tmp_path),
        "LAYERT2V_LISTEN": "0.0.0.0:7",
    }

    done = subprocess.run(
        [*BACKEND, "serve"], capture_output=True, text=True, timeout=HANG_S, env=environment
    )

    assert "0.0.0.0:7" in done.stderr
    assert os.listdir(tmp_path) == []


def test_compiling_without_a_compiler_is_refused_at_the_start(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.delenv("CXX", raising=False)

    done = run_backend("serve", "--state", str(tmp_path / "state"), "--compile")

    assert done.returncode == 2
    assert "apt-get install g++" in done.stderr
    assert "Traceback" not in done.stderr
