import contextlib
import os
import signal
import sqlite3
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from layert2v_backend.errors import (
    CannotServe,
    DataLoss,
    DiskFull,
    RequestIdReused,
    StaleAttempt,
    UnknownJob,
)
from layert2v_backend.jobs import Job
from layert2v_backend.journal import Journal
from layert2v_backend.journal_rows import MIGRATIONS
from layert2v_backend.json_text import to_json
from layert2v_backend.worker_protocol import Finished
from layert2v_domain.job import JobError, JobState
from layert2v_domain.shot import KeptLayer
from layert2v_words import UnknownWords
from support import journal_entries
from support.journal_entries import FINISHED, FRAME, PROGRESS, REPORT, SHOT
from support.waiting import HANG_S


@pytest.fixture
def journal(tmp_path: Path) -> Journal:
    return Journal(tmp_path / "journal.sqlite3")


def begun(journal: Journal) -> Job:
    journal.create(SHOT, "hash", 1.0)
    job = journal.begin_next(2.0)
    assert job is not None
    return job


def test_a_job_is_read_as_it_was_written(journal: Journal, tmp_path: Path) -> None:
    job = begun(journal)
    written = journal.succeed(job.id, 1, FINISHED, 3.0)
    journal.close()

    read = Journal(tmp_path / "journal.sqlite3").get(job.id)

    assert read == written
    assert read.shot == SHOT
    assert (read.report, read.seconds, read.update_time) == (REPORT, {"denoising": 1.0}, 3.0)


def test_what_a_model_was_not_taught_is_kept_with_the_job(journal: Journal) -> None:
    unknown = UnknownWords(1, "dragon", ("a fox",), 'sketch knows no "dragon"; nearest: a fox')

    job, _ = journal.create(SHOT, "hash", 1.0, None, (unknown,))

    assert journal.get(job.id).unknown_words == (unknown,)


OLD_SHOT = (
    '{"model": "sketch", "prompt": "", "negative_prompt": "a dog", "layers": [{"role": '
    '"background", "prompt": "a meadow", "seed": 1, "kept": {"job": "4f2a9c0d11e7b3a6", '
    '"layer_index": 0}}, {"role": "foreground", "prompt": "a fox", "seed": 9223372036854775807, '
    '"kept": null}], "width": 64, "height": 48, "num_frames": 5, "seed": 0, '
    '"num_inference_steps": 4, "guidance_scale": 3.0, "skip_finishing": false}'
)
"""A shot as the journals of earlier versions have it: a kept layer's job is an id there."""
OLD_PROGRESS = '{"stage": "denoising", "step": 1, "num_steps": 4, "fraction": 0.2, "eta_s": -1.0}'


def test_a_shot_of_an_earlier_version_is_read_as_one_of_this_version(journal: Journal) -> None:
    job, _ = journal.create(SHOT, "hash", 1.0)
    journal._db.execute("UPDATE job SET shot = ?", (OLD_SHOT,))

    shot = journal.get(job.id).shot

    kept = KeptLayer("jobs/4f2a9c0d11e7b3a6", 0)
    background = replace(SHOT.layers[0], kept=kept)
    layers = (background, *SHOT.layers[1:])
    assert shot == replace(SHOT, negative_prompt="a dog", layers=layers)


def test_progress_of_an_earlier_version_is_read_as_one_of_this_version(journal: Journal) -> None:
    job = begun(journal)
    journal.add_progress(job.id, 1, PROGRESS, 2.5)
    journal._db.execute("UPDATE event SET body = ? WHERE kind = 'progress'", (OLD_PROGRESS,))

    assert journal.events(job.id, 2, 1)[0].what == PROGRESS


def test_a_shot_that_leaves_something_to_defaults_is_a_damaged_row(journal: Journal) -> None:
    job, _ = journal.create(SHOT, "hash", 1.0)
    journal._db.execute("UPDATE job SET shot = ?", (OLD_SHOT.replace('"width": 64, ', ""),))

    with pytest.raises(DataLoss, match="is damaged"):
        journal.get(job.id)


def test_a_report_with_infinity_survives(journal: Journal) -> None:
    job = begun(journal)
    perfect = replace(REPORT, recomposition_after=float("inf"))

    ended = journal.succeed(job.id, 1, replace(FINISHED, report=perfect), 3.0)

    assert ended.report == perfect


def test_an_unknown_job_is_refused(journal: Journal) -> None:
    with pytest.raises(UnknownJob, match="jobs/nobody"):
        journal.get("nobody")


def test_the_oldest_queued_job_comes_next(journal: Journal) -> None:
    first, _ = journal.create(SHOT, "a", 5.0)
    second, _ = journal.create(SHOT, "b", 4.0)

    begun_ids = [job.id for _ in range(2) if (job := journal.begin_next(6.0))]

    assert begun_ids == [first.id, second.id]
    assert journal.begin_next(7.0) is None


def test_a_request_is_one_job(journal: Journal) -> None:
    first, is_new = journal.create(SHOT, "hash", 1.0, "id")
    again, is_new_again = journal.create(SHOT, "hash", 2.0, "id")

    assert (is_new, is_new_again) == (True, False)
    assert again == first
    with pytest.raises(RequestIdReused, match=first.id):
        journal.create(SHOT, "other hash", 3.0, "id")


def test_reports_of_an_old_attempt_are_refused(journal: Journal) -> None:
    job = begun(journal)
    journal.lose(job.id, 1, "it died", 3, 3.0)
    again = journal.begin_next(4.0)
    assert again is not None
    assert again.attempt == 2

    with pytest.raises(StaleAttempt):
        journal.add_progress(job.id, 1, PROGRESS, 5.0)
    with pytest.raises(StaleAttempt):
        journal.succeed(job.id, 1, FINISHED, 5.0)
    with pytest.raises(StaleAttempt):
        journal.fail(job.id, 1, JobError("INTERNAL", ""), 5.0)

    assert journal.get(job.id) == again
    assert journal.artifacts(job.id) == []


def test_an_ended_job_takes_no_more_reports(journal: Journal) -> None:
    job = begun(journal)
    ended = journal.succeed(job.id, 1, FINISHED, 3.0)

    with pytest.raises(StaleAttempt):
        journal.lose(job.id, 1, "it died", 3, 4.0)

    assert journal.get(job.id) == ended


@pytest.mark.parametrize("how", ["succeed", "fail", "lose", "stop"])
def test_a_job_that_is_being_cancelled_ends_cancelled(journal: Journal, how: str) -> None:
    job = begun(journal)
    journal.cancel(job.id, 3.0)

    ended = {
        "succeed": lambda: journal.succeed(job.id, 1, FINISHED, 4.0),
        "fail": lambda: journal.fail(job.id, 1, JobError("INTERNAL", ""), 4.0),
        "lose": lambda: journal.lose(job.id, 1, "it died", 3, 4.0),
        "stop": lambda: journal.stop(job.id, 1, 4.0),
    }[how]()

    assert ended.state is JobState.CANCELLED
    assert journal.artifacts(job.id) == []


def test_recovery_puts_back_what_was_running_and_ends_what_was_being_cancelled(
    journal: Journal,
) -> None:
    running, cancelling = begun(journal), begun(journal)
    journal.cancel(cancelling.id, 3.0)
    queued, _ = journal.create(SHOT, "c", 3.0)

    recovered = journal.recover(3, 4.0)

    assert recovered == [running.id, cancelling.id]
    assert journal.get(running.id).state is JobState.QUEUED
    assert journal.get(cancelling.id).state is JobState.CANCELLED
    assert journal.get(queued.id) == queued


def test_a_clean_stop_of_the_backend_is_no_strike(journal: Journal) -> None:
    job = begun(journal)
    for time in range(5):
        journal.put_back(journal.get(job.id), time)
        assert journal.begin_next(time)

    assert journal.lose(job.id, 6, "it died", 3, 9.0).state is JobState.QUEUED


def test_a_job_that_kills_its_backend_each_time_fails(journal: Journal) -> None:
    job = begun(journal)
    for time in range(2):
        journal.recover(3, time)
        assert journal.get(job.id).state is JobState.QUEUED
        assert journal.begin_next(time)

    journal.recover(3, 9.0)

    ended = journal.get(job.id)
    assert ended.state is JobState.FAILED
    assert ended.error is not None
    assert ended.error.reason == "WORKER_LOST"
    assert "3 attempts in a row" in ended.error.message
    assert journal.begin_next(10.0) is None


def test_a_job_that_gets_further_each_time_is_tried_again(journal: Journal) -> None:
    job = begun(journal)
    for attempt in range(1, 6):
        further = replace(PROGRESS, fraction=0.15 * attempt)
        journal.add_progress(job.id, attempt, further, 3.0)
        journal.recover(2, 4.0)
        assert journal.get(job.id).state is JobState.QUEUED
        assert journal.begin_next(5.0)


def test_a_full_disk_loses_nothing_and_heals(journal: Journal) -> None:
    job = begun(journal)
    before = journal.events(job.id, 0, 100)
    (pages,) = journal._db.execute("PRAGMA page_count").fetchone()
    journal._db.execute(f"PRAGMA max_page_count = {pages}")

    with pytest.raises(DiskFull, match="free some space"):
        journal.create(SHOT, "x" * 40_000, 3.0)
    assert journal.events(job.id, 0, 100) == before
    journal._db.execute("PRAGMA max_page_count = 1000000")
    assert journal.succeed(job.id, 1, FINISHED, 4.0).state is JobState.SUCCEEDED


def test_a_failed_publication_publishes_nothing(journal: Journal) -> None:
    job = begun(journal)
    twice = Finished((FRAME, FRAME), None, {})

    with pytest.raises(sqlite3.IntegrityError):
        journal.succeed(job.id, 1, twice, 3.0)

    assert journal.artifacts(job.id) == []
    assert journal.get(job.id) == job


def test_a_journal_in_use_is_refused(journal: Journal, tmp_path: Path) -> None:
    with pytest.raises(CannotServe, match="another backend already uses"):
        Journal(tmp_path / "journal.sqlite3")


def test_a_damaged_journal_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "journal.sqlite3"
    path.write_bytes(b"no database at all" * 100)

    with pytest.raises(CannotServe, match="damaged") as caught:
        Journal(path)
    assert "restore journal.sqlite3 and journal.sqlite3-wal together" in str(caught.value)


def test_a_journal_of_the_future_is_refused(journal: Journal, tmp_path: Path) -> None:
    journal._db.execute(f"PRAGMA user_version = {len(MIGRATIONS) + 1}")
    journal.close()

    with pytest.raises(CannotServe, match="install a newer layert2v"):
        Journal(tmp_path / "journal.sqlite3")


def test_jobs_of_a_journal_from_before_vocabularies_have_no_unknown_words(tmp_path: Path) -> None:
    path = tmp_path / "journal.sqlite3"
    with contextlib.closing(sqlite3.connect(path)) as old:
        old.executescript(f"{MIGRATIONS[0]} PRAGMA user_version = 1;")
        old.execute(
            "INSERT INTO job (id, state, shot, request_sha256, create_time, update_time) "
            "VALUES ('a', 'queued', ?, 'hash', 1.0, 1.0)",
            (to_json(SHOT),),
        )
        old.commit()

    assert Journal(path).get("a").unknown_words == ()


def test_a_journal_that_cannot_be_made_is_refused(tmp_path: Path) -> None:
    with pytest.raises(CannotServe, match="cannot be opened"):
        Journal(tmp_path / "missing" / "journal.sqlite3")


@pytest.mark.slow
def test_a_killed_writer_loses_nothing_it_has_acknowledged(tmp_path: Path) -> None:
    path = tmp_path / "journal.sqlite3"
    acknowledged: dict[str, set[str]] = {"created": set(), "succeeded": set()}
    for kill in range(4):
        command = [sys.executable, journal_entries.__file__, str(path)]
        writer = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
        assert writer.stdout is not None
        for _ in range(7 + 5 * kill):
            word, job_id = writer.stdout.readline().split()
            acknowledged[word].add(job_id)
        os.kill(writer.pid, signal.SIGKILL)
        rest = writer.stdout.read()
        writer.wait(HANG_S)
        writer.stdout.close()
        for line in rest.splitlines():
            word, _, job_id = line.partition(" ")
            acknowledged[word].add(job_id)

    journal = Journal(path)
    assert journal._db.execute("PRAGMA integrity_check").fetchone() == ("ok",)
    # A job may have been written and not acknowledged; the next writer finishes it all the same.
    known = acknowledged["created"] | acknowledged["succeeded"]
    states = {job_id: journal.get(job_id).state for job_id in known}
    assert all(states[job_id] is JobState.SUCCEEDED for job_id in acknowledged["succeeded"])
    for job_id in known:
        events = journal.events(job_id, 0, 1000)
        assert [event.sequence for event in events] == list(range(1, len(events) + 1))
        succeeded = states[job_id] is JobState.SUCCEEDED
        assert journal.artifacts(job_id) == ([FRAME] if succeeded else [])
    journal.close()
