import grpc
import pytest

from layert2v.v1 import artifact_pb2, job_pb2
from support.running_backend import Client
from support.scripted_engine import ScriptedEngine
from support.waiting import HANG_S
from support.wire_shots import make_shot


def test_a_running_job_is_cancelled_and_its_neighbours_are_not(
    client: Client, engine: ScriptedEngine
) -> None:
    engine.may_go_on.clear()
    running, waiting = client.create(make_shot(seed=1)), client.create(make_shot(seed=2))
    assert engine.is_holding.wait(HANG_S)

    answer = client.cancel(running.name)

    assert answer.state == job_pb2.JOB_STATE_CANCELLING
    assert client.wait(running.name).state == job_pb2.JOB_STATE_CANCELLED
    engine.may_go_on.set()
    assert client.wait(waiting.name).state == job_pb2.JOB_STATE_SUCCEEDED


def test_a_queued_job_is_cancelled_and_never_begun(client: Client, engine: ScriptedEngine) -> None:
    engine.may_go_on.clear()
    running, waiting = client.create(make_shot(seed=1)), client.create(make_shot(seed=2))
    assert engine.is_holding.wait(HANG_S)

    answer = client.cancel(waiting.name)

    assert answer.state == job_pb2.JOB_STATE_CANCELLED
    engine.may_go_on.set()
    assert client.wait(running.name).state == job_pb2.JOB_STATE_SUCCEEDED
    assert [f"jobs/{task.job_id}" for task in engine.tasks] == [running.name]
    assert client.get(waiting.name).attempt == 0


def test_cancelling_twice_is_cancelling_once(client: Client, engine: ScriptedEngine) -> None:
    engine.may_go_on.clear()
    job = client.create(make_shot())
    assert engine.is_holding.wait(HANG_S)

    client.cancel(job.name)
    client.cancel(job.name)

    states = [event.state for event in client.events(job.name) if event.HasField("state")]
    assert states.count(job_pb2.JOB_STATE_CANCELLING) == 1
    assert states[-1] == job_pb2.JOB_STATE_CANCELLED


def test_an_ended_job_is_left_as_it_is(client: Client) -> None:
    job = client.wait(client.create(make_shot()).name)

    answer = client.cancel(job.name)

    assert answer == job


def test_cancelling_an_unknown_job_is_refused(client: Client) -> None:
    with pytest.raises(grpc.RpcError) as caught:
        client.cancel("jobs/none")

    assert caught.value.code() is grpc.StatusCode.NOT_FOUND
    assert "jobs/none" in str(caught.value.details())


def test_a_cancelled_job_has_no_artifacts(client: Client, engine: ScriptedEngine) -> None:
    engine.may_go_on.clear()
    job = client.create(make_shot())
    assert engine.is_holding.wait(HANG_S)
    client.cancel(job.name)
    client.wait(job.name)

    listed = client.artifacts.ListArtifacts(artifact_pb2.ListArtifactsRequest(parent=job.name))

    assert not listed.artifacts
