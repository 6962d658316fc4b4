"""A disk without a byte left: cancels are heard, restarts work, and nothing is lost."""

import shutil
import subprocess
from pathlib import Path

import pytest

from layert2v.v1 import job_pb2
from layert2v_backend.errors import CannotServe, DiskNotWritable
from layert2v_backend.journal import Journal
from layert2v_backend.settings import Settings
from support.journal_entries import SHOT
from support.running_backend import running_backend
from support.scripted_engine import ScriptedEngine
from support.small_disk import SmallDisk
from support.waiting import HANG_S
from support.wire_shots import make_shot

pytestmark = pytest.mark.slow


def holding() -> ScriptedEngine:
    engine = ScriptedEngine()
    engine.may_go_on.clear()
    return engine


def test_a_cancel_is_heard_on_a_full_disk(small_disk: SmallDisk, settings: Settings) -> None:
    engine = holding()
    with running_backend(settings, engine) as client:
        running, waiting = client.create(make_shot(1, seed=1)), client.create(make_shot(1, seed=2))
        assert engine.is_holding.wait(HANG_S)
        small_disk.fill()

        answers = [client.cancel(running.name), client.cancel(waiting.name)]

        assert {answer.state for answer in answers} == {job_pb2.JOB_STATE_CANCELLING}
        assert client.get(waiting.name).state == job_pb2.JOB_STATE_CANCELLING
        small_disk.empty()
        assert client.wait(running.name).state == job_pb2.JOB_STATE_CANCELLED
        assert client.wait(waiting.name).state == job_pb2.JOB_STATE_CANCELLED

    assert [f"jobs/{task.job_id}" for task in engine.tasks] == [running.name]


def test_a_backend_with_a_running_job_restarts_on_a_full_disk(
    small_disk: SmallDisk, settings: Settings
) -> None:
    engine = holding()
    with running_backend(settings, engine) as client:
        job = client.create(make_shot(1, seed=1))
        assert engine.is_holding.wait(HANG_S)
        small_disk.fill()

    with running_backend(settings, ScriptedEngine()) as client:
        assert client.get(job.name).state == job_pb2.JOB_STATE_RUNNING
        small_disk.empty()
        ended = client.wait(job.name)

    assert ended.state == job_pb2.JOB_STATE_SUCCEEDED


def test_the_trash_makes_room_the_oldest_day_first(
    small_disk: SmallDisk, settings: Settings
) -> None:
    trash = settings.state / "artifacts" / "trash"
    days = ("2026-01-05", "2026-11-30")
    for day in days:
        (trash / day).mkdir(parents=True)
        (trash / day / ("ab" * 32)).write_bytes(bytes(300_000))
    (trash / "keep.txt").write_text("mine")
    wanting = settings.model_copy(update={"min_free_bytes": 200_000})

    with running_backend(wanting, ScriptedEngine()) as client:
        small_disk.fill()
        job = client.wait(client.create(make_shot(1)).name)

    assert job.state == job_pb2.JOB_STATE_SUCCEEDED
    assert [(trash / day).exists() for day in days] == [False, True]
    assert (trash / "keep.txt").exists()


def set_immutable(path: Path, sign: str) -> None:
    """Set or clear what only root may; `+` or `-`."""
    chattr = shutil.which("chattr")
    if chattr is None or subprocess.run([chattr, f"{sign}i", path], capture_output=True).returncode:
        pytest.skip("this file system knows no immutable files, or this is not root")


def test_an_immutable_journal_is_not_called_a_full_disk(tmp_path: Path) -> None:
    path = tmp_path / "journal.sqlite3"
    journal = Journal(path)
    journal.create(SHOT, "a", 1.0)
    files = (path, tmp_path / "journal.sqlite3-wal")
    for file in files:
        set_immutable(file, "+")
    try:
        with pytest.raises(DiskNotWritable, match="immutable flag"):
            journal.create(SHOT, "b", 2.0)
    finally:
        for file in files:
            set_immutable(file, "-")
    journal.create(SHOT, "b", 3.0)
    journal.close()

    set_immutable(path, "+")
    try:
        with pytest.raises(CannotServe, match="immutable flag"):
            Journal(path)
    finally:
        set_immutable(path, "-")
