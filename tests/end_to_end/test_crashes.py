"""SIGKILL at many moments: no acknowledged job is lost, no event is lost or told twice."""

import itertools
import os
import random
import signal
import sys
import uuid
from pathlib import Path

import grpc
import pytest

from layert2v.v1 import job_pb2
from support import serve_scripted
from support.backend_process import BackendProcess, backend_process
from support.waiting import await_ends
from support.wire_shots import make_shot, write_sketch_model

pytestmark = pytest.mark.slow

SCRIPTED = (sys.executable, serve_scripted.__file__)
NUM_JOBS = 8


def children(pid: int) -> list[int]:
    text = Path(f"/proc/{pid}/task/{pid}/children").read_text()
    return [int(child) for child in text.split()]


def history_so_far(backend: BackendProcess, name: str) -> list[job_pb2.JobEvent]:
    """The events that are there now."""
    last = backend.client.get(name).last_sequence
    stream = backend.client.watch(name)
    events = [next(stream).event for _ in range(last)]
    stream.cancel()
    return events


def _let_go_on(backend: BackendProcess, name: str, num_events: int) -> None:
    """Wait until a job is some events further, or has ended: the moment of death is tested."""
    stream = backend.client.watch(name, backend.client.get(name).last_sequence)
    for _ in itertools.islice(stream, num_events):
        pass
    stream.cancel()


def test_killing_the_front_door_again_and_again_loses_nothing(tmp_path: Path) -> None:
    write_sketch_model(tmp_path / "models" / "sketch")
    chance = random.Random(4)
    requests = [str(uuid.uuid4()) for _ in range(NUM_JOBS)]
    shots = [make_shot(1, seed=seed, prompt="slow") for seed in range(NUM_JOBS)]
    names: dict[str, str] = {}
    histories: dict[str, list[job_pb2.JobEvent]] = {}

    for kill in range(4):
        # Every death is a strike against the running job, no matter what kills.
        with backend_process(tmp_path, "--max-lost", "5", command=SCRIPTED) as backend:
            for request, shot in zip(requests, shots, strict=True):
                job = backend.client.create(shot, request)
                assert names.setdefault(request, job.name) == job.name
            _let_go_on(backend, names[requests[kill]], chance.randint(1, 9))
            for name in names.values():
                now = history_so_far(backend, name)
                assert now[: len(histories.get(name, []))] == histories.get(name, [])
                histories[name] = now
            workers = children(backend.process.pid)
            backend.kill()
            await_ends(workers)

    with backend_process(tmp_path, "--max-lost", "5", command=SCRIPTED) as backend:
        for name in names.values():
            job = backend.client.wait(name)
            assert job.state == job_pb2.JOB_STATE_SUCCEEDED
            events = backend.client.events(name)
            assert [event.sequence for event in events] == list(range(1, len(events) + 1))
            assert events[: len(histories[name])] == histories[name]
            states = [event.state for event in events]
            assert states.count(job_pb2.JOB_STATE_SUCCEEDED) == 1
        listed = backend.client.jobs.ListJobs(job_pb2.ListJobsRequest()).jobs
        assert len(listed) == NUM_JOBS


def test_a_worker_killed_at_every_step_costs_attempts_only(tmp_path: Path) -> None:
    write_sketch_model(tmp_path / "models" / "sketch")
    with backend_process(tmp_path, command=SCRIPTED) as backend:
        client = backend.client
        for step in (0, 3, 6):
            job = client.create(make_shot(1, prompt="slow"))
            for response in client.watch(job.name):
                event = response.event
                if event.HasField("progress") and event.progress.step == step:
                    for worker in children(backend.process.pid):
                        os.kill(worker, signal.SIGKILL)
                    break

            ended = client.wait(job.name)

            assert ended.state == job_pb2.JOB_STATE_SUCCEEDED
            assert ended.attempt <= 2


def test_a_worker_that_always_dies_fails_its_job_and_no_other(tmp_path: Path) -> None:
    write_sketch_model(tmp_path / "models" / "sketch")
    with backend_process(tmp_path, command=SCRIPTED) as backend:
        doomed = backend.client.create(make_shot(1, prompt="die-always"))
        other = backend.client.create(make_shot(1))

        ended = backend.client.wait(doomed.name)

        assert ended.error.reason == "WORKER_LOST"
        assert "signal 9" in ended.error.message
        assert backend.client.wait(other.name).state == job_pb2.JOB_STATE_SUCCEEDED


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux tells a child of a death")
def test_a_stopped_worker_does_not_outlive_its_killed_front_door(tmp_path: Path) -> None:
    write_sketch_model(tmp_path / "models" / "sketch")
    with backend_process(tmp_path, command=SCRIPTED) as backend:
        job = backend.client.create(make_shot(1, prompt="slow"))
        for response in backend.client.watch(job.name):
            if response.event.progress.step == 1:
                break
        workers = children(backend.process.pid)
        for worker in workers:
            os.kill(worker, signal.SIGSTOP)

        backend.kill()

        assert workers
        await_ends(workers)


def test_a_watcher_of_a_killed_backend_is_told(tmp_path: Path) -> None:
    write_sketch_model(tmp_path / "models" / "sketch")
    with backend_process(tmp_path, command=SCRIPTED) as backend:
        job = backend.client.create(make_shot(1, prompt="wait"))
        stream = backend.client.watch(job.name)
        next(stream)
        backend.kill()

        with pytest.raises(grpc.RpcError) as caught:
            list(stream)

    assert caught.value.code() is grpc.StatusCode.UNAVAILABLE
