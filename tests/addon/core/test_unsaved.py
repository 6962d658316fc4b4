import hashlib
import json
import os
import shutil

import pytest

from blender_addon.core import unsaved
from blender_addon.core.shots import new_shot
from blender_addon.core.takes import Take, TakeFile, load_take
from layert2v_client import ArtifactFormat, ArtifactKind

DATA = b"a frame"


@pytest.fixture
def project(tmp_path):
    """An unsaved project with one take."""
    folder = tmp_path / "root" / "uid0123456789" / "shot_1" / "take_0001_job"
    (folder / "full" / "png").mkdir(parents=True)
    path = "full/png/full_0001.png"
    (folder / path).write_bytes(DATA)
    digest = hashlib.sha256(DATA).hexdigest()
    file = TakeFile(path, digest, ArtifactKind.FULL, ArtifactFormat.PNG, -1, 0)
    shot = new_shot("a beach", ("a ball",))
    Take(folder, 1, "jobs/job", "shot", shot, shot, 8.0, (file,)).save()
    (tmp_path / "root" / "uid0123456789" / "journal-abc.jsonl").write_text("{}\n")
    return tmp_path / "root" / "uid0123456789"


def no_links(*_):
    raise OSError("no hard links here")


@pytest.mark.parametrize("has_links", [True, False])
def test_a_shot_is_copied_whole_and_verified(project, tmp_path, monkeypatch, has_links):
    if not has_links:
        monkeypatch.setattr(unsaved.os, "link", no_links)

    unsaved.copy_shot(project / "shot_1", tmp_path / "beside" / "shot_1")

    take = load_take(tmp_path / "beside" / "shot_1" / "take_0001_job")
    assert (take.folder / "full/png/full_0001.png").read_bytes() == DATA
    assert (project / "shot_1" / "take_0001_job" / "take.json").is_file()
    assert not list(tmp_path.rglob("*.part"))


def test_a_copy_that_differs_is_not_kept(project, tmp_path, monkeypatch):
    def damage(source, target):
        shutil.copy2(source, target)
        if str(target).endswith(".png"):
            with open(target, "wb") as file:
                file.write(b"rubbish")

    monkeypatch.setattr(unsaved.os, "link", no_links)
    monkeypatch.setattr(unsaved, "_link_or_copy", damage)

    with pytest.raises(unsaved.CopyFailed, match="differs from the file that the backend sent"):
        unsaved.copy_shot(project / "shot_1", tmp_path / "beside" / "shot_1")

    assert not list((tmp_path / "beside" / "shot_1").iterdir())


def test_a_folder_that_cannot_be_written_is_told(project, tmp_path):
    (tmp_path / "beside").write_text("a file")

    with pytest.raises(unsaved.CopyFailed, match="could not be copied"):
        unsaved.copy_shot(project / "shot_1", tmp_path / "beside" / "shot_1")
    with pytest.raises(unsaved.CopyFailed, match="could not be copied"):
        unsaved.copy_journals(project, tmp_path / "beside")
    with pytest.raises(unsaved.CopyFailed, match="cannot be written"):
        unsaved.mark_moved(project / "none", tmp_path)


def test_originals_stay_while_the_blender_that_moved_them_runs(project, tmp_path):
    unsaved.mark_moved(project, tmp_path / "beside")
    unsaved.tidy(project.parent)
    assert project.is_dir()

    write_marker(project, process="another", pid=os.getpid())
    unsaved.tidy(project.parent)
    assert project.is_dir()


def write_marker(project, **changes):
    values = json.loads((project / unsaved.MARKER_NAME).read_text())
    (project / unsaved.MARKER_NAME).write_text(json.dumps({**values, **changes}))


def test_originals_of_an_earlier_blender_are_trashed_after_the_rest_is_copied(project, tmp_path):
    unsaved.mark_moved(project, tmp_path / "beside")
    write_marker(project, process="another", host="another host", at=0)

    unsaved.tidy(project.parent)

    assert not project.exists()
    (trashed,) = (project.parent / "trash").iterdir()
    assert (trashed / "shot_1" / "take_0001_job" / "take.json").is_file()
    load_take(tmp_path / "beside" / "shot_1" / "take_0001_job")
    assert (tmp_path / "beside" / "journal-abc-uid01234.jsonl").is_file()


def test_the_trash_forgets_after_thirty_days_and_never_what_it_does_not_know(project, tmp_path):
    unsaved.mark_moved(project, tmp_path / "beside")
    write_marker(project, process="another", host="another host", at=0)
    unsaved.tidy(project.parent)
    (trashed,) = (project.parent / "trash").iterdir()
    unknown = project.parent / "trash" / "unknown"
    unknown.mkdir()
    for folder in (trashed, unknown):
        os.utime(folder, (0, 0))

    unsaved.tidy(project.parent)

    assert not trashed.exists()
    assert unknown.is_dir()


def test_a_project_that_was_never_saved_stays(project):
    unsaved.tidy(project.parent)

    assert project.is_dir()


def test_a_take_that_was_copied_is_not_copied_again(project, tmp_path, monkeypatch):
    unsaved.copy_shot(project / "shot_1", tmp_path / "beside" / "shot_1")
    monkeypatch.setattr(unsaved.shutil, "copytree", no_links)

    unsaved.copy_shot(project / "shot_1", tmp_path / "beside" / "shot_1")


@pytest.mark.parametrize(
    ("error", "is_running"), [(ProcessLookupError, False), (PermissionError, True)]
)
def test_a_process_of_this_host_is_asked_whether_it_runs(
    project, tmp_path, monkeypatch, error, is_running
):
    def kill(pid, signal):
        assert (pid, signal) == (12345, 0)
        raise error

    unsaved.mark_moved(project, tmp_path / "beside")
    write_marker(project, process="another", pid=12345)
    monkeypatch.setattr(unsaved.os, "kill", kill)

    unsaved.tidy(project.parent)

    assert project.exists() is is_running
