import json
import threading
from dataclasses import replace

from blender_addon.core import journal as journal_module
from blender_addon.core.journal import Journal, merged
from blender_addon.core.records import JobRecord, RecordState
from blender_addon.core.shots import new_shot


def make_record(request_id="one", **others):
    return JobRecord(
        request_id=request_id,
        project_uid="project",
        scene_name="Scene",
        shot_uid="shot",
        asked=new_shot("a beach", ("a b\u00e4ll",)),
        frame_start=1,
        shot_folder="folder",
        address="127.0.0.1:1",
        fps=8.0,
        **others,
    )


def test_the_last_line_of_a_request_counts(tmp_path):
    journal = Journal.of_media(tmp_path / "media")
    journal.append(make_record())
    journal.append(make_record("two"))
    journal.append(make_record(state=RecordState.QUEUED, job="jobs/a"))

    records = journal.records()

    assert list(records) == ["one", "two"]
    assert records["one"] == make_record(state=RecordState.QUEUED, job="jobs/a")


def test_a_journal_that_does_not_exist_is_empty(tmp_path):
    assert Journal.of_media(tmp_path / "none").records() == {}


def test_a_torn_line_is_passed_over_and_does_not_spoil_the_next(tmp_path):
    journal = Journal.of_media(tmp_path)
    journal.append(make_record())
    whole = journal.path.read_bytes()
    journal.path.write_bytes(whole + whole[: len(whole) // 2])

    journal.append(make_record("two"))

    assert list(journal.records()) == ["one", "two"]


def test_lines_that_are_not_records_are_passed_over(tmp_path):
    journal = Journal.of_media(tmp_path)
    journal.path.write_bytes(b'[]\n{"request_id": "x"}\n\xff\n"text"\n')
    journal.append(make_record())

    assert list(journal.records()) == ["one"]


def test_fields_of_newer_versions_are_passed_over():
    values = make_record().to_json() | {"colour": "red"}

    assert JobRecord.from_json(values) == make_record()


def test_a_long_journal_is_rewritten_without_loss(tmp_path, monkeypatch):
    monkeypatch.setattr(journal_module, "MOST_LINES", 10)
    journal = Journal.of_media(tmp_path)
    for sequence in range(12):
        journal.append(replace(make_record(), last_sequence=sequence))
    journal.append(make_record("two"))

    records = journal.records()

    assert len(journal.path.read_bytes().splitlines()) < 13
    assert journal.records() == records
    assert records["one"].last_sequence == 11
    assert list(tmp_path.iterdir()) == [journal.path]


def test_each_process_writes_a_file_of_its_own_and_readers_merge_them(tmp_path):
    one, other = Journal(tmp_path, "one"), Journal(tmp_path, "other")
    one.append(make_record(revision=1))
    other.append(make_record("two", revision=1))
    other.append(make_record(revision=3, state=RecordState.RUNNING))
    one.append(make_record(revision=2, state=RecordState.QUEUED))

    records = one.records()

    assert records == other.records()
    assert records["one"].state is RecordState.RUNNING
    assert records["two"].revision == 1
    assert one.path != other.path


def test_a_cancel_that_any_process_has_journaled_counts(tmp_path):
    one, other = Journal(tmp_path, "one"), Journal(tmp_path, "other")
    one.append(make_record(revision=2, is_cancel_asked=True))
    other.append(make_record(revision=9, state=RecordState.READY))

    record = one.records()["one"]

    assert record.state is RecordState.READY
    assert not record.is_wanted


def test_no_record_is_lost_while_another_thread_or_process_reads(tmp_path, monkeypatch):
    monkeypatch.setattr(journal_module, "MOST_LINES", 20)
    one, other = Journal(tmp_path, "one"), Journal(tmp_path, "other")
    done = threading.Event()

    def write(journal, prefix):
        for number in range(40):
            for revision in range(1, 6):
                journal.append(make_record(f"{prefix} {number}", revision=revision))

    def read():
        while not done.is_set():
            Journal(tmp_path, "reader").records()

    reader = threading.Thread(target=read)
    writers = [
        threading.Thread(target=write, args=(journal, name))
        for journal, name in ((one, "a"), (other, "b"))
    ]
    for thread in (reader, *writers):
        thread.start()
    for thread in writers:
        thread.join()
    done.set()
    reader.join()

    records = one.records()
    assert len(records) == 80
    assert {record.revision for record in records.values()} == {5}


def test_the_journal_of_an_earlier_version_is_read(tmp_path):
    line = json.dumps(make_record().to_json())
    (tmp_path / "journal.jsonl").write_text(line + "\n")

    assert list(Journal(tmp_path).records()) == ["one"]


def test_a_file_that_cannot_be_read_costs_only_its_own_records(tmp_path):
    (tmp_path / "journal-folder.jsonl").mkdir()
    (tmp_path / "journal-gone.jsonl").symlink_to(tmp_path / "nowhere")
    journal = Journal(tmp_path)
    journal.append(make_record())

    assert journal.exists
    assert not Journal(tmp_path / "none").exists
    assert list(journal.records()) == ["one"]


def test_journals_of_two_folders_are_merged_to_the_later_record(tmp_path):
    before, beside = Journal(tmp_path / "unsaved"), Journal(tmp_path / "beside")
    before.append(make_record(revision=5, state=RecordState.IMPORTED))
    beside.append(make_record(revision=3, state=RecordState.RUNNING))
    beside.append(make_record("two", revision=1))

    for order in ([before, beside], [beside, before]):
        found = merged(order)
        assert found["one"][0].state is RecordState.IMPORTED
        assert found["one"][1] is before
        assert found["two"][1] is beside


def test_a_folder_that_cannot_be_listed_has_no_records_and_stops_nothing(tmp_path, caplog):
    journal = Journal.of_media(tmp_path / ("long" * 100))

    assert journal.records() == {}
    assert "its jobs are not resumed" in caplog.text
