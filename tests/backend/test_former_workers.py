import json
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from layert2v_backend.former_workers import end_named_worker, name_worker


@pytest.fixture
def worker() -> Iterator["subprocess.Popen[bytes]"]:
    """A process that waits for its input to end, and that a signal has stopped."""
    command = [sys.executable, "-c", "import sys; sys.stdin.read()"]
    with subprocess.Popen(command, stdin=subprocess.PIPE) as process:
        process.send_signal(signal.SIGSTOP)
        yield process
        process.kill()


@pytest.fixture
def record(tmp_path: Path, worker: "subprocess.Popen[bytes]") -> Path:
    name_worker(tmp_path / "worker.json", worker.pid)
    return tmp_path / "worker.json"


def change(record: Path, **fields: object) -> None:
    record.write_text(json.dumps(json.loads(record.read_text()) | fields))


def test_a_stopped_worker_is_ended(record: Path, worker: "subprocess.Popen[bytes]") -> None:
    assert end_named_worker(record)

    assert not psutil.pid_exists(worker.pid)
    assert not end_named_worker(record)


@pytest.mark.parametrize(
    "fields",
    [
        {"started": 1.0},
        {"folder": "/elsewhere"},
        {"pid": "none"},
        {"pid": 2**30},
    ],
)
def test_a_process_that_the_record_does_not_mean_is_left_alone(
    record: Path, worker: "subprocess.Popen[bytes]", fields: dict[str, object]
) -> None:
    change(record, **fields)

    assert not end_named_worker(record)

    assert worker.poll() is None


def test_a_copied_folder_ends_no_worker(
    record: Path, worker: "subprocess.Popen[bytes]", tmp_path: Path
) -> None:
    copy = tmp_path / "copy"
    copy.mkdir()
    (copy / "worker.json").write_bytes(record.read_bytes())

    assert not end_named_worker(copy / "worker.json")

    assert worker.poll() is None


def test_a_folder_without_a_record_names_none(tmp_path: Path) -> None:
    assert not end_named_worker(tmp_path / "worker.json")
