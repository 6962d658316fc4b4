"""A scripted backend on a real loopback socket, for tests of the client and the add-on.

`FakeBackend` speaks the wire with grpclib, in a thread of its own, and draws simple pictures
instead of generating. Scripts: refuse calls, break streams after some chunks, hold jobs, damage
bytes, stop and come back on the same port.
"""

import asyncio
import socket
import threading
import zlib
from collections import defaultdict, deque
from dataclasses import dataclass, field
from typing import Any, Self

from grpclib.const import Status
from grpclib.exceptions import GRPCError
from grpclib.server import Server, Stream

from layert2v.v1 import artifact_grpc, artifact_pb2, job_grpc, job_pb2, system_grpc, system_pb2
from layert2v_client.crc32c import crc32c_numpy
from layert2v_client.status import DetailsCodec, StatusDetails, Violation
from support.fake_takes import FakeFile, draw_take
from support.waiting import HANG_S

CHUNK_BYTES = 4096
"""Bytes of a chunk. They are few, so that even small files have several chunks."""
TERMINAL = (
    job_pb2.JOB_STATE_SUCCEEDED,
    job_pb2.JOB_STATE_FAILED,
    job_pb2.JOB_STATE_CANCELLED,
)


@dataclass
class FakeJob:
    """A job, its history and its files."""

    proto: job_pb2.Job
    events: list[job_pb2.JobEvent] = field(default_factory=list)
    files: dict[str, FakeFile] = field(default_factory=dict)
    changed: asyncio.Event = field(default_factory=asyncio.Event)

    def record(self, **event: Any) -> None:
        """Append one event and wake the watchers."""
        if "state" in event:
            self.proto.state = event["state"]
        self.proto.last_sequence += 1
        self.events.append(job_pb2.JobEvent(sequence=self.proto.last_sequence, attempt=1, **event))
        self.changed.set()
        self.changed = asyncio.Event()


@dataclass
class Script:
    """The unusual behaviour of the backend."""

    is_model_loaded: bool = True
    refusals: dict[str, deque[GRPCError | None]] = field(default_factory=lambda: defaultdict(deque))
    """Errors for the next calls of each rpc, in order. None lets a call pass."""
    break_reads_after: deque[int] = field(default_factory=deque)
    """Number of chunks after which each of the next reads is reset."""
    break_status: Status | None = None
    """Error that ends broken reads after all sent chunks, instead of a reset. A reset discards data
    that the client has not read yet."""
    break_watches_after: deque[int] = field(default_factory=deque)
    """Number of events after which each of the next watches is reset."""
    damage_reads: int = 0
    """Number of next reads with a chunk that does not match its CRC32C."""
    wrong_files: int = 0
    """Number of next reads with wrong bytes and a CRC32C that fits them."""
    has_crc32: bool = True
    """Whether chunks carry the second checksum, which older backends lack."""
    hold: bool = False
    """Whether jobs wait in RUNNING until `FakeBackend.finish`."""
    keep_cancelling: bool = False
    """Whether cancelled jobs stay CANCELLING."""
    fail_with: job_pb2.JobError | None = None
    """Error with which jobs end FAILED."""
    empty_frames: list[int] = field(default_factory=list)
    """Empty foregrounds in the jobs' reports."""
    vocabulary: system_pb2.Vocabulary | None = None
    """The model's vocabulary."""
    unknown_words: list[job_pb2.UnknownWords] = field(default_factory=list)
    """Unknown words in the jobs' reports."""
    manifest_path: str = "manifest.json"
    """Path that the manifest claims."""
    read_offsets: list[int] = field(default_factory=list)
    """Offset of every read."""
    create_requests: list[job_pb2.CreateJobRequest] = field(default_factory=list)
    """Every received CreateJob."""

    def check(self, rpc: str) -> None:
        """Raise the next scripted refusal of this rpc, if any."""
        refusal = self.refusals[rpc].popleft() if self.refusals[rpc] else None
        if refusal is not None:
            raise refusal


class _Jobs(job_grpc.JobServiceBase):
    def __init__(self, script: Script):
        self.script = script
        self.jobs: dict[str, FakeJob] = {}
        self.by_request: dict[str, str] = {}

    def find(self, name: str) -> FakeJob:
        if name not in self.jobs:
            raise GRPCError(Status.NOT_FOUND, f"There is no job '{name}'.")
        return self.jobs[name]

    async def CreateJob(self, stream: Stream[Any, Any]) -> None:
        request = await stream.recv_message()
        self.script.create_requests.append(request)
        self.script.check("CreateJob")
        name = self.by_request.get(request.request_id)
        if name is None:
            name = f"jobs/job{len(self.jobs) + 1:04d}"
            self.by_request[request.request_id] = name
            self.jobs[name] = self._begin(name, request.shot)
        self.script.check("CreateJob.reply")
        await stream.send_message(job_pb2.CreateJobResponse(job=self.jobs[name].proto))

    def _begin(self, name: str, shot: Any) -> FakeJob:
        job = FakeJob(job_pb2.Job(name=name, attempt=1))
        job.proto.shot.CopyFrom(shot)
        filled = job.proto.shot
        filled.model = filled.model or "tiny"
        filled.width, filled.height = filled.width or 96, filled.height or 64
        filled.num_frames = filled.num_frames or 9
        job.proto.unknown_words.extend(self.script.unknown_words)
        filled.prompt = filled.prompt or ", ".join(layer.prompt for layer in shot.layers)
        job.record(state=job_pb2.JOB_STATE_QUEUED)
        job.record(state=job_pb2.JOB_STATE_RUNNING)
        for step in (1, 2):
            job.record(
                progress=job_pb2.JobProgress(
                    stage=job_pb2.JOB_STAGE_DENOISING,
                    step=step,
                    num_steps=2,
                    fraction=step * 0.4,
                    eta_s=3.0 - step,
                )
            )
        if not self.script.hold:
            self.end(job)
        return job

    def end(self, job: FakeJob) -> None:
        if job.proto.state in TERMINAL:
            return
        if self.script.fail_with is not None:
            job.proto.error.CopyFrom(self.script.fail_with)
            job.record(state=job_pb2.JOB_STATE_FAILED)
            return
        kept = {
            index: (self.jobs[layer.kept.job].files, layer.kept.layer_index)
            for index, layer in enumerate(job.proto.shot.layers)
            if layer.HasField("kept")
        }
        job.files = draw_take(job.proto, kept)
        job.files["manifest.json"].proto.path = self.script.manifest_path
        job.proto.report.recomposition_before = 20.0
        job.proto.report.recomposition_after = 50.0
        job.proto.report.empty_frames.extend(self.script.empty_frames)
        job.record(state=job_pb2.JOB_STATE_SUCCEEDED)

    async def GetJob(self, stream: Stream[Any, Any]) -> None:
        request = await stream.recv_message()
        self.script.check("GetJob")
        await stream.send_message(job_pb2.GetJobResponse(job=self.find(request.name).proto))

    async def ListJobs(self, stream: Stream[Any, Any]) -> None:
        request = await stream.recv_message()
        self.script.check("ListJobs")
        jobs = [job.proto for job in reversed(self.jobs.values())]
        first = int(request.page_token or 0)
        rest = str(first + 2) if first + 2 < len(jobs) else ""
        page = jobs[first : first + 2]
        await stream.send_message(job_pb2.ListJobsResponse(jobs=page, next_page_token=rest))

    async def WatchJob(self, stream: Stream[Any, Any]) -> None:
        request = await stream.recv_message()
        self.script.check("WatchJob")
        job, sequence = self.find(request.name), request.after_sequence
        remaining = (
            self.script.break_watches_after.popleft() if self.script.break_watches_after else -1
        )
        await stream.send_initial_metadata()
        while True:
            for event in job.events[sequence:]:
                if remaining == 0:
                    await stream.cancel()
                    return
                await stream.send_message(job_pb2.WatchJobResponse(event=event))
                sequence, remaining = event.sequence, remaining - 1
            if job.proto.state in TERMINAL and sequence >= job.proto.last_sequence:
                return
            await job.changed.wait()

    async def CancelJob(self, stream: Stream[Any, Any]) -> None:
        request = await stream.recv_message()
        self.script.check("CancelJob")
        job = self.find(request.name)
        if job.proto.state not in TERMINAL:
            is_slow = self.script.keep_cancelling
            job.record(
                state=job_pb2.JOB_STATE_CANCELLING if is_slow else job_pb2.JOB_STATE_CANCELLED
            )
        await stream.send_message(job_pb2.CancelJobResponse(job=job.proto))


class _Artifacts(artifact_grpc.ArtifactServiceBase):
    def __init__(self, script: Script, jobs: _Jobs):
        self.script = script
        self.jobs = jobs

    async def ListArtifacts(self, stream: Stream[Any, Any]) -> None:
        request = await stream.recv_message()
        self.script.check("ListArtifacts")
        files = self.jobs.find(request.parent).files
        paths = sorted(files)
        first = int(request.page_token or 0)
        rest = str(first + 20) if first + 20 < len(paths) else ""
        page = [files[path].proto for path in paths[first : first + 20]]
        await stream.send_message(
            artifact_pb2.ListArtifactsResponse(artifacts=page, next_page_token=rest)
        )

    def find(self, name: str) -> FakeFile:
        for job in self.jobs.jobs.values():
            for file in job.files.values():
                if file.proto.name == name:
                    return file
        raise GRPCError(Status.NOT_FOUND, f"There is no artifact '{name}'.")

    async def ReadArtifact(self, stream: Stream[Any, Any]) -> None:
        request = await stream.recv_message()
        self.script.read_offsets.append(request.offset)
        self.script.check("ReadArtifact")
        file, script = self.find(request.name), self.script
        remaining = script.break_reads_after.popleft() if script.break_reads_after else -1
        reply = artifact_pb2.ReadArtifactResponse
        header = artifact_pb2.ReadArtifactHeader(artifact=file.proto)
        await stream.send_message(reply(header=header))
        for offset in range(request.offset, len(file.data), CHUNK_BYTES):
            if remaining == 0 and script.break_status is not None:
                raise GRPCError(script.break_status, "broken off")
            if remaining == 0:
                await asyncio.sleep(0.02)  # A reset discards data that was not read yet.
                await stream.cancel()
                return
            chunk = self._chunk(file.data[offset : offset + CHUNK_BYTES], offset)
            await stream.send_message(reply(chunk=chunk))
            remaining -= 1
        trailer = artifact_pb2.ReadArtifactTrailer(
            sha256=file.proto.sha256, size_bytes=len(file.data)
        )
        await stream.send_message(reply(trailer=trailer))

    def _chunk(self, data: bytes, offset: int) -> artifact_pb2.ReadArtifactChunk:
        if self.script.wrong_files:
            self.script.wrong_files -= 1
            data = bytes(len(data))
        checksum, other = crc32c_numpy(data), zlib.crc32(data)
        if self.script.damage_reads:
            self.script.damage_reads -= 1
            data = data[:-1] + bytes([data[-1] ^ 1])
        chunk = artifact_pb2.ReadArtifactChunk(offset=offset, data=data, crc32c=checksum)
        if self.script.has_crc32:
            chunk.crc32 = other
        return chunk


class _Models(system_grpc.ModelServiceBase):
    def __init__(self, script: Script) -> None:
        self._script = script

    async def ListModels(self, stream: Stream[Any, Any]) -> None:
        await stream.recv_message()
        model = system_pb2.Model(
            id="tiny",
            description="Draws discs.",
            sizes=[system_pb2.Size(width=96, height=64), system_pb2.Size(width=48, height=32)],
            num_frames=[9, 5],
            max_foregrounds=3,
            max_prompt_chars=300,
            default_num_inference_steps=24,
            default_guidance_scale=3.0,
            fps=8.0,
            vocabulary=self._script.vocabulary,
        )
        await stream.send_message(system_pb2.ListModelsResponse(models=[model]))


class _System(system_grpc.SystemServiceBase):
    def __init__(self, script: Script) -> None:
        self._script = script

    async def GetServerInfo(self, stream: Stream[Any, Any]) -> None:
        await stream.recv_message()
        info = system_pb2.GetServerInfoResponse(
            version="0.1.0",
            api_version="layert2v.v1",
            free_bytes=10**9,
            is_model_loaded=self._script.is_model_loaded,
        )
        await stream.send_message(info)


class _Server(Server):
    """A server that can drop its connections, as a killed process does."""

    protocols: tuple[Any, ...] = ()

    def _protocol_factory(self) -> Any:
        protocol = super()._protocol_factory()
        self.protocols += (protocol,)
        return protocol

    def drop(self) -> None:
        for protocol in self.protocols:
            if hasattr(protocol, "processor"):
                protocol.processor.close()


def invalid_shot(field_path: str, sentence: str) -> GRPCError:
    """Give the error of a shot that is refused for one field."""
    details = StatusDetails((Violation(field_path, sentence),), reason="INVALID_SHOT")
    return GRPCError(Status.INVALID_ARGUMENT, sentence, details)


class FakeBackend:
    """A backend that a test starts, scripts and stops. Use it as a context manager."""

    def __init__(self) -> None:
        self.script = Script()
        self.port = _free_port()
        self._jobs = _Jobs(self.script)
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)
        self._server: _Server | None = None

    @property
    def address(self) -> str:
        """Give its address."""
        return f"127.0.0.1:{self.port}"

    @property
    def jobs(self) -> dict[str, FakeJob]:
        """Give every job, by name."""
        return self._jobs.jobs

    def __enter__(self) -> Self:
        self._thread.start()
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(HANG_S)
        self._loop.close()

    def start(self) -> None:
        """Listen on the same port as before, with the same jobs."""
        self._run(self._listen())

    def stop(self) -> None:
        """Close the port and every connection, and keep the jobs."""
        if self._server is not None:
            self._run(self._close(self._server))
            self._server = None

    def finish(self) -> None:
        """End every held job."""
        self._run(self._finish())

    def say(self, message: str) -> None:
        """Write a sentence into the history of every job."""
        self._run(self._say(message))

    async def _say(self, message: str) -> None:
        for job in self._jobs.jobs.values():
            job.record(message=message)

    async def _listen(self) -> None:
        services = [
            self._jobs,
            _Artifacts(self.script, self._jobs),
            _Models(self.script),
            _System(self.script),
        ]
        self._server = _Server(services, status_details_codec=DetailsCodec())
        await self._server.start("127.0.0.1", self.port)

    async def _close(self, server: _Server) -> None:
        # asyncio leaks a connection that it is just accepting.
        await asyncio.sleep(0.01)
        while any("accept" in str(task.get_coro()) for task in asyncio.all_tasks()):
            await asyncio.sleep(0)
        server.drop()
        server.close()
        await server.wait_closed()

    async def _finish(self) -> None:
        for job in self._jobs.jobs.values():
            self._jobs.end(job)

    def _run(self, coroutine: Any) -> None:
        asyncio.run_coroutine_threadsafe(coroutine, self._loop).result(10)


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
