from dataclasses import replace

from blender_addon.core import journal as journal_module
from blender_addon.core.journal import Journal
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

    assert len(journal.path.read_bytes().splitlines()) == 2
    assert journal.records() == records
    assert records["one"].last_sequence == 11
    assert [path.name for path in tmp_path.iterdir()] == ["journal.jsonl"]
