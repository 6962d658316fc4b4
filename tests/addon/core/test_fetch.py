import errno
import os
import shutil
from dataclasses import replace

import pytest
from grpclib.const import Status
from grpclib.exceptions import GRPCError

from blender_addon.core import fetch as fetch_module
from blender_addon.core.records import RecordState
from blender_addon.core.shots import regenerated
from blender_addon.core.takes import UnreadableTake, load_take, takes_of_shot
from layert2v_client import ArtifactFormat, ArtifactKind
from support.requests_of_session import SHOT, follow, make_record, run, state_is


def test_a_take_is_fetched_through_broken_streams(session, journal, backend):
    backend.script.break_watches_after.extend([1, 1])
    backend.script.break_reads_after.extend([1, 0, 1, 2])
    backend.script.refusals["ListArtifacts"].append(GRPCError(Status.UNAVAILABLE, "gone"))
    backend.script.refusals["GetJob"].append(GRPCError(Status.UNAVAILABLE, "gone"))

    record = run(session, journal, make_record(session))

    load_take(journal.folder / record.take_folder)


def test_damaged_files_fail_and_a_second_try_succeeds(session, journal, backend):
    backend.script.wrong_files = 10**6
    session.submit(make_record(session), journal)
    board = follow(session, state_is(RecordState.FAILED))
    failed = board.jobs["one"].record
    assert "SHA-256" in failed.error
    assert "Nothing was imported" in failed.remedy

    backend.script.wrong_files = 0
    session.submit(replace(failed, state=RecordState.SUBMITTING), journal)

    follow(session, state_is(RecordState.READY))
    assert len(backend.jobs) == 1


def test_a_path_that_leaves_the_folder_fails_and_writes_nothing_outside(
    session, journal, backend, tmp_path
):
    backend.script.manifest_path = "../../../evil.json"
    session.submit(make_record(session), journal)

    board = follow(session, state_is(RecordState.FAILED))

    failed = board.failed[0].record
    assert failed.error == (
        "The backend names a file '../../../evil.json', which cannot be written safely."
    )
    assert failed.remedy == "Install the same version of the add-on and the backend."
    assert not list(tmp_path.parent.glob("evil.json"))


def test_a_kept_layer_is_linked_from_the_earlier_take(session, journal, backend):
    first = run(session, journal, make_record(session))
    backend.script.read_offsets.clear()
    kept = {0: first.job, 2: first.job}
    asked = regenerated(SHOT, 1, kept, prompt="a kite", seed=4, full_prompt="")

    second = run(session, journal, make_record(session, "two", asked=asked, layer_index=1))

    takes = takes_of_shot(journal.folder / "shot_1")
    assert [take.number for take in takes] == [1, 2]
    assert len(backend.script.read_offsets) == 3 * 2 + 1
    one, two = (take.frames(ArtifactKind.BACKGROUND, 0, ArtifactFormat.PNG) for take in takes)
    assert one[0].read_bytes() == two[0].read_bytes()
    assert second.take_folder.startswith("shot_1/take_0002_")


def test_a_take_that_is_there_is_not_fetched_again(session, journal, backend):
    record = run(session, journal, make_record(session))
    backend.script.read_offsets.clear()

    again = run(session, journal, replace(record, state=RecordState.FETCHING, take_folder=""))

    assert again.take_folder == record.take_folder
    assert not backend.script.read_offsets


def test_a_take_with_a_missing_file_is_unreadable(session, journal):
    record = run(session, journal, make_record(session))
    folder = journal.folder / record.take_folder
    next(folder.rglob("full_0001.png")).unlink()

    with pytest.raises(UnreadableTake, match=r"has lost 'full/png/full_0001\.png'"):
        load_take(folder)
    with pytest.raises(UnreadableTake, match=r"take\.json cannot be read"):
        load_take(journal.folder)
    assert takes_of_shot(folder.parent) == []


def test_files_are_copied_where_there_are_no_hard_links(session, journal, backend, monkeypatch):
    first = run(session, journal, make_record(session))
    backend.script.read_offsets.clear()

    def no_links(*_):
        raise OSError("no hard links here")

    monkeypatch.setattr(fetch_module.os, "link", no_links)
    kept = {0: first.job, 2: first.job}
    asked = regenerated(SHOT, 1, kept, prompt="a kite", seed=4, full_prompt="")
    run(session, journal, make_record(session, "two", asked=asked, layer_index=1))

    assert len(backend.script.read_offsets) == 3 * 2 + 1


def test_a_fetch_goes_on_with_the_files_that_are_whole(session, journal, backend):
    gone = GRPCError(Status.NOT_FOUND, "gone")
    backend.script.refusals["ReadArtifact"].extend([None] * 5 + [gone])
    session.submit(make_record(session), journal)
    board = follow(session, state_is(RecordState.FAILED))
    num_read = len(backend.script.read_offsets)

    run(session, journal, replace(board.failed[0].record, state=RecordState.SUBMITTING))

    assert num_read > 1
    assert len(backend.script.read_offsets) < num_read + 6 * 2 + 1


def test_a_fetch_has_a_folder_of_its_own_and_uses_what_another_process_has(
    session, journal, backend, monkeypatch
):
    gone = GRPCError(Status.NOT_FOUND, "gone")
    backend.script.refusals["ReadArtifact"].extend([None] * 5 + [gone])
    session.submit(make_record(session), journal)
    board = follow(session, state_is(RecordState.FAILED))
    num_read = len(backend.script.read_offsets)
    (left,) = journal.folder.rglob("*-*.part")
    monkeypatch.setattr(fetch_module, "PROCESS", "anotherone")

    run(session, journal, replace(board.failed[0].record, state=RecordState.SUBMITTING))

    assert left.is_dir()
    assert len(backend.script.read_offsets) < num_read + 6 * 2 + 1
    assert len(takes_of_shot(journal.folder / "shot_1")) == 1


def test_two_processes_that_fetch_one_take_end_with_one_take(
    session, journal, backend, monkeypatch
):
    rename = fetch_module.os.replace

    def be_slower(source, target):
        if str(source).endswith(".part") and "take_" in str(target):
            shutil.copytree(source, target)  # as the other process has just done
        rename(source, target)

    monkeypatch.setattr(fetch_module.os, "replace", be_slower)

    record = run(session, journal, make_record(session))

    assert len(takes_of_shot(journal.folder / "shot_1")) == 1
    load_take(journal.folder / record.take_folder)
    assert not list(journal.folder.rglob("*.part"))


def test_the_later_of_two_takes_of_a_job_goes_when_numbers_have_moved(
    session, journal, backend, monkeypatch
):
    rename = fetch_module.os.replace

    def be_slower(source, target):
        if "take_0007" in str(target):
            shutil.copytree(source, str(target).replace("take_0007", "take_0006"))
        rename(source, target)

    monkeypatch.setattr(fetch_module, "next_take_number", lambda _: 7)
    monkeypatch.setattr(fetch_module.os, "replace", be_slower)

    record = run(session, journal, make_record(session))

    assert "take_0006" in record.take_folder
    assert len(takes_of_shot(journal.folder / "shot_1")) == 1


def test_a_part_that_nobody_has_touched_for_a_day_is_removed(session, journal, backend):
    name = f"{fetch_module.short_job('jobs/job0001')}-gone-one.part"
    part = journal.folder / "shot_1" / name
    part.mkdir(parents=True)
    os.utime(part, (0, 0))

    run(session, journal, make_record(session))

    assert not part.exists()


def test_a_take_that_cannot_get_its_name_fails_and_says_why(session, journal, backend, monkeypatch):
    rename = fetch_module.os.replace

    def refuse(source, target):
        if os.path.basename(target).startswith("take_"):
            raise PermissionError(errno.EACCES, "Permission denied", str(target))
        rename(source, target)

    monkeypatch.setattr(fetch_module.os, "replace", refuse)
    record = make_record(session, state=RecordState.FETCHING)
    session.submit(record, journal)

    board = follow(session, state_is(RecordState.FAILED))

    assert "cannot be written (Permission denied)" in board.failed[0].record.error
    assert board.failed[0].record.remedy == "Check the folder and its disk."


def test_files_of_another_process_that_go_meanwhile_are_fetched(
    session, journal, backend, monkeypatch
):
    gone = GRPCError(Status.NOT_FOUND, "gone")
    backend.script.refusals["ReadArtifact"].extend([None] * 5 + [gone])
    session.submit(make_record(session), journal)
    board = follow(session, state_is(RecordState.FAILED))
    (left,) = journal.folder.rglob("*-*.part")
    monkeypatch.setattr(fetch_module, "PROCESS", "anotherone")
    moved, link = left.with_name("moved"), os.link

    def publish_first(source, target):
        if left.exists():
            left.rename(moved)  # as the other process does with a take that is whole
        link(source, target)

    monkeypatch.setattr(fetch_module.os, "link", publish_first)
    run(session, journal, replace(board.failed[0].record, state=RecordState.SUBMITTING))

    assert moved.is_dir()
    assert len(takes_of_shot(journal.folder / "shot_1")) == 1
