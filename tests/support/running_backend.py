"""A real front door in a thread, on a real socket, with its client stubs."""

import asyncio
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import grpc

from layert2v.v1 import artifact_pb2_grpc, job_pb2, job_pb2_grpc, system_pb2_grpc
from layert2v_backend.engine import Engine
from layert2v_backend.server.serving import serve
from layert2v_backend.settings import Settings
from support.waiting import HANG_S


class Client:
    """The stubs of every service, over one connection."""

    def __init__(self, address: str) -> None:
        self.address = address
        self.channel = grpc.insecure_channel(address)
        self.jobs = job_pb2_grpc.JobServiceStub(self.channel)
        self.artifacts = artifact_pb2_grpc.ArtifactServiceStub(self.channel)
        self.models = system_pb2_grpc.ModelServiceStub(self.channel)
        self.system = system_pb2_grpc.SystemServiceStub(self.channel)

    def create(self, shot: Any, request_id: str = "") -> job_pb2.Job:
        request = job_pb2.CreateJobRequest(shot=shot, request_id=request_id)
        return self.jobs.CreateJob(request, timeout=HANG_S).job

    def get(self, name: str) -> job_pb2.Job:
        return self.jobs.GetJob(job_pb2.GetJobRequest(name=name), timeout=HANG_S).job

    def watch(self, name: str, after: int = 0) -> Any:
        request = job_pb2.WatchJobRequest(name=name, after_sequence=after)
        return self.jobs.WatchJob(request, timeout=HANG_S)

    def events(self, name: str, after: int = 0) -> list[job_pb2.JobEvent]:
        """Wait for the terminal event, and give all events up to it."""
        return [response.event for response in self.watch(name, after)]

    def wait(self, name: str) -> job_pb2.Job:
        """Wait for the job's end, and give the job."""
        self.events(name)
        return self.get(name)

    def cancel(self, name: str) -> job_pb2.Job:
        return self.jobs.CancelJob(job_pb2.CancelJobRequest(name=name), timeout=HANG_S).job


@contextmanager
def running_backend(settings: Settings, engine: Engine | None = None) -> Iterator[Client]:
    """Serve until the block ends, then drain. Errors of the server are raised here."""
    ready = threading.Event()
    found: dict[str, Any] = {}

    async def run() -> None:
        found["loop"], found["stop"] = asyncio.get_running_loop(), asyncio.Event()

        def announce(address: str) -> None:
            found["address"] = address
            ready.set()

        await serve(settings, found["stop"], announce, engine)

    def target() -> None:
        try:
            asyncio.run(run())
        except BaseException as failure:  # noqa: BLE001  (raised again in the test)
            found["failure"] = failure
        finally:
            ready.set()

    thread = threading.Thread(target=target, name="backend")
    thread.start()
    assert ready.wait(HANG_S)
    try:
        if "failure" not in found:
            client = Client(found["address"])
            yield client
            client.channel.close()
    finally:
        if thread.is_alive():
            found["loop"].call_soon_threadsafe(found["stop"].set)
        thread.join(HANG_S)
    if "failure" in found:
        raise found["failure"]


def sketch_settings(folder: Path, **fields: Any) -> Settings:
    """Settings for tests: loopback, any port, the model `sketch`."""
    given = {
        "state": folder / "state",
        "listen": "127.0.0.1:0",
        "models_dirs": (folder / "models",),
        "prewarm": False,
        "min_free_bytes": 0,
        "drain_grace_s": 0.2,
    }
    return Settings(**(given | fields))
