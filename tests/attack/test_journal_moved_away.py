"""Following the advice for a damaged journal, or restoring a backup, costs no take."""

import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest

from layert2v.v1 import artifact_pb2, job_pb2
from layert2v_backend.errors import CannotServe
from layert2v_backend.journal import Journal
from layert2v_backend.settings import Settings
from support.running_backend import Client, running_backend
from support.scripted_engine import ScriptedEngine
from support.wire_shots import make_shot


def make_take(settings: Settings, seed: int) -> str:
    with running_backend(settings, ScriptedEngine()) as client:
        job = client.wait(client.create(make_shot(1, seed=seed)).name)
    assert job.state == job_pb2.JOB_STATE_SUCCEEDED
    return job.name


def start_and_stop(settings: Settings) -> None:
    with running_backend(settings, ScriptedEngine()) as client:
        client.wait(client.create(make_shot(1, seed=99)).name)


def stored(settings: Settings) -> set[str]:
    return {path.name for path in (settings.state / "artifacts" / "sha256").glob("??/*")}


def grow_old(settings: Settings) -> None:
    for path in (settings.state / "artifacts").rglob("*"):
        os.utime(path, (1, 1))


def journal_files(settings: Settings) -> list[Path]:
    return sorted(settings.state.glob("journal.sqlite3*"))


def move(files: list[Path], folder: Path) -> list[Path]:
    folder.mkdir(exist_ok=True)
    return [Path(shutil.move(file, folder / file.name)) for file in files]


def is_whole(client: Client, name: str) -> bool:
    request = artifact_pb2.ListArtifactsRequest(parent=name)
    listed = client.artifacts.ListArtifacts(request).artifacts
    for artifact in listed:
        read = artifact_pb2.ReadArtifactRequest(name=artifact.name)
        list(client.artifacts.ReadArtifact(read))
    return bool(listed)


@pytest.fixture
def old_take(settings: Settings) -> str:
    return make_take(settings, 1)


def test_a_journal_that_is_moved_away_and_back_costs_no_take(
    settings: Settings, old_take: str, tmp_path: Path
) -> None:
    before = stored(settings)
    grow_old(settings)
    (settings.state / "journal.sqlite3").write_bytes(b"lightning" * 1000)
    with (
        pytest.raises(CannotServe, match="Neither removes a take's files"),
        running_backend(settings, ScriptedEngine()),
    ):
        raise AssertionError("a damaged journal was served")

    move(journal_files(settings), tmp_path / "aside")
    start_and_stop(settings)
    grow_old(settings)
    start_and_stop(settings)

    assert before <= stored(settings)


def test_an_intact_journal_is_served_again_after_it_was_away(
    settings: Settings, old_take: str, tmp_path: Path
) -> None:
    grow_old(settings)
    aside = move(journal_files(settings), tmp_path / "aside")
    for _ in range(2):
        start_and_stop(settings)
        grow_old(settings)

    move(journal_files(settings), tmp_path / "newer")
    for file in aside:
        shutil.move(file, settings.state / file.name)

    with running_backend(settings, ScriptedEngine()) as client:
        assert is_whole(client, old_take)


def test_a_restored_backup_costs_no_take(settings: Settings, old_take: str, tmp_path: Path) -> None:
    backup = settings.state / "journal.sqlite3"
    shutil.copy(backup, tmp_path / "backup")
    newer = stored(settings)
    make_take(settings, 2)
    newer = stored(settings)
    grow_old(settings)

    shutil.copy(tmp_path / "backup", backup)
    for _ in range(2):
        start_and_stop(settings)
        grow_old(settings)

    assert newer <= stored(settings)


def test_files_that_somebody_put_there_stay(settings: Settings, old_take: str) -> None:
    own = [
        settings.state / "artifacts" / "sha256" / "ab" / ("ab" * 32),
        settings.state / "artifacts" / "sha256" / "ab" / "notes.txt",
        settings.state / "artifacts" / "tmp" / "render of monday" / "a.exr",
        settings.state / "artifacts" / "unfinished" / "a.txt",
    ]
    for path in own:
        path.parent.mkdir(exist_ok=True)
        path.write_text("mine")
    grow_old(settings)

    start_and_stop(settings)

    assert all(path.read_text() == "mine" for path in own)


def test_the_latest_jobs_of_a_journal_that_was_moved_without_its_log_are_kept(
    settings: Settings, old_take: str, tmp_path: Path
) -> None:
    log = settings.state / "journal.sqlite3-wal"
    log.write_bytes(b"the latest jobs")
    move([settings.state / "journal.sqlite3"], tmp_path / "aside")

    start_and_stop(settings)

    (kept,) = settings.state.glob("journal.sqlite3-wal.*")
    assert kept.read_bytes() == b"the latest jobs"


def test_the_logs_of_two_journals_that_were_moved_away_are_both_kept(tmp_path: Path) -> None:
    path = tmp_path / "journal.sqlite3"
    for text in ("first", "second"):
        path.with_name("journal.sqlite3-wal").write_text(text)
        Journal(path).close()
        path.unlink()

    kept = tmp_path.glob("journal.sqlite3-wal.*")

    assert {log.read_text() for log in kept} == {"first", "second"}


KILLED_WRITER = """
import dataclasses, os, pathlib, sys
from layert2v_backend.journal import Journal
from support.journal_entries import SHOT
shot = dataclasses.replace(SHOT, prompt=sys.argv[2])
Journal(pathlib.Path(sys.argv[1])).create(shot, "hash", 1.0)
os.kill(os.getpid(), 9)
"""


def leave_killed(path: Path, prompt: str) -> None:
    """Leave a journal as a killed backend does: its latest job is in the log only."""
    command = [sys.executable, "-c", KILLED_WRITER, str(path), prompt]
    subprocess.run(
        command, check=False, env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    )
    assert path.with_name(f"{path.name}-wal").stat().st_size


def prompts(path: Path) -> list[str]:
    with closing(Journal(path)) as journal:
        return [job.shot.prompt for _, job in journal.list_jobs(10)]


@pytest.mark.parametrize("put_back", [shutil.move, shutil.copy])
def test_a_journal_beside_the_log_of_its_successor_keeps_its_own_jobs(
    tmp_path: Path, put_back: Callable[[Path, Path], object]
) -> None:
    path, aside = tmp_path / "journal.sqlite3", tmp_path / "aside"
    leave_killed(path, "first")
    assert prompts(path) == ["first"]
    path.rename(aside)
    leave_killed(path, "second")
    path.unlink()

    put_back(aside, path)

    assert prompts(path) == ["first"]
    (kept,) = tmp_path.glob("journal.sqlite3-wal.*")
    assert kept.stat().st_size


def test_a_backup_beside_a_later_log_is_what_was_backed_up(tmp_path: Path) -> None:
    path = tmp_path / "journal.sqlite3"
    leave_killed(path, "first")
    assert prompts(path) == ["first"]
    backup = shutil.copy2(path, tmp_path / "backup")
    leave_killed(path, "second")

    shutil.copy(backup, path)

    assert prompts(path) == ["first"]


@pytest.mark.parametrize("put_back", [shutil.move, shutil.copy])
def test_a_journal_that_is_restored_with_its_log_keeps_the_jobs_in_the_log(
    tmp_path: Path, put_back: Callable[[Path, Path], object]
) -> None:
    path, log = tmp_path / "journal.sqlite3", tmp_path / "journal.sqlite3-wal"
    leave_killed(path, "first")
    shutil.move(path, tmp_path / "aside")
    shutil.move(log, tmp_path / "aside-wal")
    leave_killed(path, "second")
    path.unlink()
    log.unlink()

    put_back(tmp_path / "aside", path)
    put_back(tmp_path / "aside-wal", log)

    assert prompts(path) == ["first"]
