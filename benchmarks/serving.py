"""The front door under load, as it sends files and events: `python -m benchmarks.serving`.

Prints ratios of one run, in pairs that take turns:
- ReadArtifact against a plain grpc.aio server that only sends the same file
- the client's download against a bare grpclib client that only receives, with the compiled CRC and,
  as inside Blender, without
- the delay of events for many watchers of one job
"""

import argparse
import asyncio
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import AsyncGenerator, Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import grpc
import psutil
from grpclib.client import Channel

from layert2v.v1 import artifact_grpc, artifact_pb2, job_pb2, job_pb2_grpc
from layert2v_backend.artifacts import ArtifactStore
from layert2v_backend.convert.results import artifact_to_proto
from layert2v_backend.jobs import Artifact, take_path
from layert2v_backend.journal import Journal
from layert2v_backend.server.serving import serve
from layert2v_backend.settings import Settings
from layert2v_backend.worker_protocol import Failed, Finished, StageProgress, Task, WorkerMessage
from layert2v_client import Artifact as ClientArtifact
from layert2v_client import Client, convert, crc32c
from layert2v_domain.artifact import ArtifactFormat, ArtifactKind
from layert2v_domain.job import JobError, JobStage
from layert2v_domain.shot import LayerRole, LayerSpec, Shot
from layert2v_wire.shots import shot_to_proto

MIB = 1 << 20
EVENTS_PER_S = 20
LAYERS = (
    LayerSpec(LayerRole.BACKGROUND, "a meadow", 1),
    LayerSpec(LayerRole.FOREGROUND, "a fox", 2),
)
SHOT = Shot(
    LAYERS, model="tiny", width=96, height=64, num_frames=9, num_inference_steps=4,
    guidance_scale=3.0,
)  # fmt: skip


class EventEngine:
    """Reports progress at a steady rate and makes nothing."""

    is_model_loaded = True

    def __init__(self, num_events: int) -> None:
        self._num_events = num_events

    async def end_former_workers(self) -> None:
        """Do nothing, because no former workers exist."""

    async def warm(self, model_folder: str) -> None:
        """Do nothing, because no model is loaded."""

    async def run(self, task: Task) -> AsyncGenerator[WorkerMessage, None]:
        """Wait until watchers have come, then report."""
        await asyncio.sleep(3.0)
        for step in range(self._num_events):
            await asyncio.sleep(1 / EVENTS_PER_S)
            yield StageProgress(JobStage.DENOISING, step, self._num_events)
        yield Failed(JobError("INTERNAL", "the benchmark has ended"))

    async def cancel(self, job: str, attempt: int) -> None:
        """Do nothing, because no task can be stopped."""

    async def close(self) -> None:
        """Do nothing, because no task can be stopped."""


def main() -> None:
    """Measure, or be one of the measured servers."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.serving", description=__doc__)
    parser.add_argument(
        "--toy", action="store_true", help="use toy sizes, which only check that it runs"
    )
    parser.add_argument("--door", nargs=3, metavar=("STATE", "LISTEN", "EVENTS"),
                        help=argparse.SUPPRESS)  # fmt: skip
    parser.add_argument("--plain", nargs=2, metavar=("FILE", "LISTEN"), help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.door:
        state, listen, events = arguments.door
        asyncio.run(_be_the_door(Path(state), listen, int(events)))
    elif arguments.plain:
        asyncio.run(_be_plain(Path(arguments.plain[0]), arguments.plain[1]))
    else:
        with tempfile.TemporaryDirectory() as folder:
            _measure(Path(folder), toy=arguments.toy)


async def _be_the_door(state: Path, listen: str, num_events: int) -> None:
    settings = Settings(state=state, listen=listen, prewarm=False)
    engine = EventEngine(num_events)
    await serve(settings, asyncio.Event(), lambda _: print("ready", flush=True), engine)


async def _be_plain(path: Path, listen: str) -> None:
    async def read(request: bytes, context: Any) -> AsyncGenerator[bytes, None]:
        with path.open("rb") as file:
            while data := file.read(MIB):
                yield data

    handlers = {"Read": grpc.unary_stream_rpc_method_handler(read)}
    server = grpc.aio.server()
    server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler("Plain", handlers),))
    server.add_insecure_port(listen)
    await server.start()
    print("ready", flush=True)
    await server.wait_for_termination()


@contextmanager
def _server(*flags: str) -> Iterator[psutil.Process]:
    command = [sys.executable, "-m", "benchmarks.serving", *flags]
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
    ) as it:
        assert it.stdout is not None
        try:
            if it.stdout.readline() != "ready\n":
                raise RuntimeError(f"{' '.join(command)} did not start: run it by hand")
            yield psutil.Process(it.pid)
        finally:
            it.kill()


def _measure(folder: Path, *, toy: bool) -> None:
    num_bytes, rounds = (4 * MIB, 1) if toy else (256 * MIB, 7)
    num_watchers, num_events = (4, 10) if toy else (200, 10 * EVENTS_PER_S)
    job_id, artifact = _publish(folder / "state", num_bytes)
    name = f"jobs/{job_id}/artifacts/{artifact.id}"
    path = ArtifactStore(folder / "state" / "artifacts").path(artifact.sha256)
    door, plain = f"unix:{folder}/run/d.sock", f"unix:{folder}/plain.sock"
    with (
        _server("--door", str(folder / "state"), door, str(num_events)) as door_process,
        _server("--plain", str(path), plain) as plain_process,
    ):
        request = artifact_pb2.ReadArtifactRequest(name=name).SerializeToString()
        with grpc.insecure_channel(door) as ours, grpc.insecure_channel(plain) as theirs:
            read = ours.unary_stream("/layert2v.v1.ArtifactService/ReadArtifact")
            bare = theirs.unary_stream("/Plain/Read")
            _print_pairs("ReadArtifact against plain grpc.aio from the same file", num_bytes,
                         Side(lambda: _drain(read(request)), door_process),
                         Side(lambda: _drain(bare(b"")), plain_process), rounds)  # fmt: skip
        _measure_client(door, _as_client_has_it(name, artifact), folder, rounds)
        _measure_watchers(door, num_watchers)


def _publish(state: Path, num_bytes: int) -> tuple[str, Artifact]:
    """Make the state folder of a backend with one finished take of one file."""
    state.mkdir(mode=0o700)
    store = ArtifactStore(state / "artifacts")
    journal = Journal(state / "journal.sqlite3")
    journal.create(SHOT, "benchmark", time.time())
    job = journal.begin_next(time.time())
    assert job is not None
    draft = store.draft_folder(job.id, job.attempt) / "file"
    draft.write_bytes(os.urandom(MIB) * (num_bytes // MIB))
    sealed = store.seal(draft)
    store.adopt([sealed])
    kind, form = ArtifactKind.FULL, ArtifactFormat.EXR
    artifact = Artifact(take_path(kind, form, -1, 0), kind, form, -1, 0, sealed.size_bytes,
                        sealed.sha256, sealed.checksums)  # fmt: skip
    journal.succeed(job.id, job.attempt, Finished((artifact,), None, {}), time.time())
    journal.close()
    return job.id, artifact


def _as_client_has_it(name: str, artifact: Artifact) -> ClientArtifact:
    read = convert.artifact_from_proto(artifact_to_proto(name.split("/")[1], artifact))
    assert read is not None
    return read


def _drain(messages: Any) -> None:
    for _ in messages:
        pass


@dataclass(frozen=True)
class Side:
    """One of two contestants."""

    call: Callable[[], None]
    """Moves all bytes once."""
    processor: psutil.Process
    """Process that does the work. Its processor time is the same on a busy machine."""

    def measured(self) -> tuple[float, float]:
        """Give the seconds by the clock and of the processor."""
        before, begin = self.processor.cpu_times(), time.perf_counter()
        self.call()
        wall_s, after = time.perf_counter() - begin, self.processor.cpu_times()
        return wall_s, after.user + after.system - before.user - before.system


def _print_pairs(title: str, num_bytes: int, ours: Side, theirs: Side, rounds: int) -> None:
    pairs: list[tuple[tuple[float, float], tuple[float, float]]] = []
    for number in range(rounds + 1):
        if number % 2:
            our_s, their_s = ours.measured(), theirs.measured()
        else:
            their_s, our_s = theirs.measured(), ours.measured()
        if number:  # The first round warms up.
            pairs.append((our_s, their_s))
    by_clock, of_processor = (
        statistics.median(their_s[kind] / max(our_s[kind], 1e-3) for our_s, their_s in pairs)
        for kind in (0, 1)
    )
    mib = num_bytes / MIB
    rates = [mib / statistics.median(pair[side][0] for pair in pairs) for side in (0, 1)]
    print(f"{title}: {by_clock:.2f} by the clock ({rates[0]:.0f} against {rates[1]:.0f} MiB/s), "
          f"{of_processor:.2f} by processor time", flush=True)  # fmt: skip


def _measure_client(door: str, artifact: ClientArtifact, folder: Path, rounds: int) -> None:
    async def download() -> None:
        async with Client.connect(door) as client:
            await client.download(artifact, folder / "fetched")

    async def bare() -> None:
        channel = Channel(path=door.removeprefix("unix:"))
        stub = artifact_grpc.ArtifactServiceStub(channel)
        async with stub.ReadArtifact.open() as stream:
            request = artifact_pb2.ReadArtifactRequest(name=artifact.name)
            await stream.send_message(request, end=True)
            async for _ in stream:
                pass
        channel.close()

    async def read() -> None:
        async with Client.connect(door) as client:
            async for _ in client.read_artifact(artifact.name):
                pass

    here = psutil.Process()
    for where, compiled in (("", crc32c.google_crc32c), (", without the compiled CRC", None)):
        for name, call in (("read_artifact", read), ("download", download)):
            crc32c.google_crc32c = compiled
            _print_pairs(f"Client.{name} against bare grpclib{where}", artifact.size_bytes,
                         Side(lambda call=call: asyncio.run(call()), here),
                         Side(lambda: asyncio.run(bare()), here), rounds)  # fmt: skip


def _measure_watchers(door: str, num_watchers: int) -> None:
    delays_ms: list[float] = []

    async def watch(stub: Any, name: str) -> None:
        request = job_pb2.WatchJobRequest(name=name)
        async for reply in stub.WatchJob(request):
            if reply.event.HasField("progress"):
                delays_ms.append(1000 * (time.time() - reply.event.time.ToMicroseconds() / 1e6))

    async def watch_all() -> None:
        async with grpc.aio.insecure_channel(door) as channel:
            stub: Any = job_pb2_grpc.JobServiceStub(channel)
            request = job_pb2.CreateJobRequest(shot=shot_to_proto(SHOT))
            job = (await stub.CreateJob(request)).job
            await asyncio.gather(*(watch(stub, job.name) for _ in range(num_watchers)))

    asyncio.run(watch_all())
    delays_ms.sort()
    middle, late = (delays_ms[int(share * (len(delays_ms) - 1))] for share in (0.5, 0.99))
    print(f"{num_watchers} watchers at {EVENTS_PER_S} events a second: median {middle:.0f} ms, "
          f"p99 {late:.0f} ms of {len(delays_ms)} events", flush=True)  # fmt: skip


if __name__ == "__main__":
    main()
