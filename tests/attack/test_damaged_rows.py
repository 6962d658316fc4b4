"""A row of the journal, or a stored file, that cannot be read costs its job and nothing else."""

import sqlite3
from pathlib import Path

import grpc
import pytest

from layert2v.v1 import artifact_pb2, job_pb2
from layert2v_backend.settings import Settings
from support.running_backend import Client, running_backend
from support.scripted_engine import ScriptedEngine
from support.wire_shots import keep_layer, make_shot


def change(settings: Settings, statement: str, *values: object) -> None:
    database = sqlite3.connect(settings.state / "journal.sqlite3", isolation_level=None)
    changed = database.execute(statement, values).rowcount
    database.close()
    assert changed > 0


def listed(client: Client, **fields: int) -> list[str]:
    page = client.jobs.ListJobs(job_pb2.ListJobsRequest(**fields))
    return [job.name for job in page.jobs]


def make_takes(settings: Settings, number: int) -> list[str]:
    with running_backend(settings, ScriptedEngine()) as client:
        names = [client.create(make_shot(1, seed=seed)).name for seed in range(number)]
        for name in names:
            client.wait(name)
    return names


@pytest.mark.parametrize(
    ("column", "value"),
    [
        ("shot", "{"),
        ("shot", '{"model": 3}'),
        ("seconds", "nothing"),
        ("error", "?"),
        ("state", "lost"),
        ("attempt", 2**40),
        ("create_time", 1e300),
        ("create_time", -1.0),
    ],
)
def test_an_unreadable_job_leaves_the_list_of_the_others(
    settings: Settings, column: str, value: object
) -> None:
    first, second, third = make_takes(settings, 3)
    job_id = second.removeprefix("jobs/")
    change(settings, f"UPDATE job SET {column} = ? WHERE id = ?", value, job_id)

    with running_backend(settings, ScriptedEngine()) as client:
        assert listed(client) == [third, first]
        with pytest.raises(grpc.RpcError) as caught:
            client.get(second)
        new = client.wait(client.create(make_shot(1, seed=9)).name)

    assert caught.value.code() is grpc.StatusCode.DATA_LOSS
    assert second in caught.value.details()
    assert "pydantic" not in caught.value.details()
    assert new.state == job_pb2.JOB_STATE_SUCCEEDED


def test_pages_go_on_behind_an_unreadable_job(settings: Settings) -> None:
    first, second, third = make_takes(settings, 3)
    change(settings, "UPDATE job SET shot = '{' WHERE id = ?", second.removeprefix("jobs/"))

    with running_backend(settings, ScriptedEngine()) as client:
        request = job_pb2.ListJobsRequest(page_size=1)
        page = client.jobs.ListJobs(request)
        request.page_token = page.next_page_token
        next_page = client.jobs.ListJobs(request)

    assert [job.name for job in (*page.jobs, *next_page.jobs)] == [third, first]


def test_text_that_is_no_text_is_one_jobs_fault(settings: Settings) -> None:
    first, second = make_takes(settings, 2)
    change(
        settings,
        "UPDATE job SET shot = CAST(x'7bff' AS TEXT) WHERE id = ?",
        second.removeprefix("jobs/"),
    )

    with running_backend(settings, ScriptedEngine()) as client:
        assert listed(client) == [first]


@pytest.mark.parametrize("state", ["queued", "running", "cancelling"])
def test_an_unreadable_job_that_is_to_run_fails_and_the_next_one_runs(
    settings: Settings, state: str
) -> None:
    (doomed,) = make_takes(settings, 1)
    job_id = doomed.removeprefix("jobs/")
    change(settings, "UPDATE job SET state = ?, shot = '{' WHERE id = ?", state, job_id)

    with running_backend(settings, ScriptedEngine()) as client:
        job = client.wait(client.create(make_shot(1, seed=9)).name)
        assert job.state == job_pb2.JOB_STATE_SUCCEEDED

    database = sqlite3.connect(settings.state / "journal.sqlite3")
    ended = database.execute("SELECT state FROM job WHERE id = ?", (job_id,)).fetchone()
    database.close()
    assert ended == ("failed",)


def test_a_damaged_entry_of_a_history_keeps_its_place(settings: Settings) -> None:
    (name,) = make_takes(settings, 1)
    job_id = name.removeprefix("jobs/")
    change(settings, "UPDATE event SET body = '?' WHERE job = ? AND kind = 'progress'", job_id)

    with running_backend(settings, ScriptedEngine()) as client:
        events = client.events(name)

    assert [event.sequence for event in events] == list(range(1, len(events) + 1))
    assert events[-1].state == job_pb2.JOB_STATE_SUCCEEDED
    assert any("damaged" in event.message for event in events)


@pytest.mark.parametrize(("column", "value"), [("body", "?"), ("time", 1e300), ("attempt", 2**40)])
def test_a_history_whose_last_entry_is_damaged_ends_all_the_same(
    settings: Settings, column: str, value: object
) -> None:
    (name,) = make_takes(settings, 1)
    last = "sequence = (SELECT max(sequence) FROM event)"
    change(settings, f"UPDATE event SET {column} = ? WHERE {last}", value)

    with running_backend(settings, ScriptedEngine()) as client:
        events = client.events(name)

    assert [event.sequence for event in events] == list(range(1, len(events) + 1))
    assert "damaged" in events[-1].message


def test_a_take_whose_list_of_files_is_damaged_is_refused_alone(settings: Settings) -> None:
    first, second = make_takes(settings, 2)
    job_id = second.removeprefix("jobs/")
    change(settings, "UPDATE artifact SET kind = '?' WHERE job = ?", job_id)

    with running_backend(settings, ScriptedEngine()) as client:
        assert client.artifacts.ListArtifacts(artifact_pb2.ListArtifactsRequest(parent=first))
        with pytest.raises(grpc.RpcError) as caught:
            client.artifacts.ListArtifacts(artifact_pb2.ListArtifactsRequest(parent=second))
        doomed = client.wait(client.create(keep_layer(make_shot(1), 0, second, 0)).name)

    assert caught.value.code() is grpc.StatusCode.DATA_LOSS
    assert doomed.error.reason == "DATA_LOSS"


def kept_files(settings: Settings, name: str) -> list[Path]:
    database = sqlite3.connect(settings.state / "journal.sqlite3")
    rows = database.execute(
        "SELECT sha256 FROM artifact WHERE job = ? AND layer_index = 0",
        (name.removeprefix("jobs/"),),
    ).fetchall()
    database.close()
    store = settings.state / "artifacts" / "sha256"
    return [store / sha256[:2] / sha256 for (sha256,) in rows]


def test_a_kept_file_that_cannot_be_read_fails_the_job_that_wants_it(settings: Settings) -> None:
    (source,) = make_takes(settings, 1)
    for path in kept_files(settings, source):
        path.unlink()
        path.mkdir()  # a folder cannot be read, not even by root

    for _ in range(2):
        with running_backend(settings, ScriptedEngine()) as client:
            doomed = client.wait(client.create(keep_layer(make_shot(1), 0, source, 0)).name)
            other = client.wait(client.create(make_shot(1, seed=9)).name)
        assert doomed.error.reason == "DATA_LOSS"
        assert "Errno" not in doomed.error.message
        assert other.state == job_pb2.JOB_STATE_SUCCEEDED
