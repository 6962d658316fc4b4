"""The client: one asyncio connection to one backend. No bpy, no torch, no grpcio."""

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Mapping
from contextlib import aclosing, asynccontextmanager
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from grpclib.client import Channel
from grpclib.config import Configuration
from grpclib.const import Status

from layert2v.v1 import artifact_grpc, artifact_pb2, job_grpc, job_pb2, system_grpc, system_pb2
from layert2v_client import convert, download
from layert2v_client.address import Address, parse_address
from layert2v_client.artifact import Artifact
from layert2v_client.errors import (
    ARTIFACT_CALL,
    CREATE_CALL,
    JOB_CALL,
    BackendFull,
    BackendUnreachable,
    ClientError,
    TokenInClear,
    translated,
)
from layert2v_client.job import Job, JobEvent
from layert2v_client.status import DetailsCodec
from layert2v_client.system import Model, ServerInfo
from layert2v_domain.shot import Shot
from layert2v_wire.shots import shot_to_proto

UNARY_TIMEOUT_S = 10.0
"""Deadline of every call except streams and `create_job`."""
CREATE_TIMEOUT_S = 30.0
"""Deadline of `create_job`, which waits for a durable write."""
WINDOW_BYTES = 4 * 1024 * 1024
"""HTTP/2 window. It gives 280 to 330 MB/s on loopback, and 64 KiB give 150 to 215 (November "
"2026)."""
FIRST_DELAY_S = 0.2
"""Delay before the first reconnection. Each later delay is twice as long."""
LONGEST_DELAY_S = 5.0
"""Most seconds between two attempts to reconnect."""

_Narrower = Mapping[Status, type[ClientError]]


def _configuration() -> Configuration:
    # Ping every 30 s even without calls, so that a dead network is noticed within 40 s.
    return Configuration(
        _keepalive_time=30.0,
        _keepalive_timeout=10.0,
        _keepalive_permit_without_calls=True,
        _http2_max_pings_without_data=0,
        _http2_min_sent_ping_interval_without_data=30.0,
        http2_connection_window_size=WINDOW_BYTES,
        http2_stream_window_size=WINDOW_BYTES,
    )


class Client:
    """Talks to one backend. Make it with `Client.connect` inside a running event loop.

    Every method raises a `ClientError` of `layert2v_client.errors` and nothing of the transport.
    `VersionMismatch` stands for an answer that this version cannot read.
    """

    def __init__(self, address: str, channel: Channel, token: str = ""):
        self.address = address
        self._channel = channel
        self._metadata = {"authorization": f"Bearer {token}"} if token else None
        self._jobs = job_grpc.JobServiceStub(channel)
        self._artifacts = artifact_grpc.ArtifactServiceStub(channel)
        self._models = system_grpc.ModelServiceStub(channel)
        self._system = system_grpc.SystemServiceStub(channel)

    @classmethod
    def connect(cls, address: str, *, token: str = "") -> Self:
        """Prepare a connection. The first call opens it, and a lost one is reopened.

        Raises:
            BadAddress: The address is not valid.
            TokenInClear: A token is given, but the address leaves this computer.
        """
        parsed = parse_address(address)
        if token and not parsed.is_local:
            raise TokenInClear(f"A token is sent to {address} only over an encrypted connection.")
        return cls(address, _open_channel(parsed), token)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def close(self) -> None:
        """Close the connection. Running calls end with an error."""
        self._channel.close()

    async def create_job(self, shot: Shot, request_id: str) -> Job:
        """Queue a shot. The same `request_id` with the same shot gives the same job.

        Raises:
            InvalidShot: The shot cannot be made. `violations` names each field.
            NotFound: The model or a kept layer's job does not exist.
            NotReady: A kept layer's job has not succeeded.
            RequestConflict: `request_id` was used for another shot.
            BackendFull: The backend's disk or queue is full. `reason` says which.
            BackendBusy: The backend has too many calls. Repeat with the same `request_id`.
            BackendUnreachable: No reply came. Repeat with the same `request_id`.
        """
        message = job_pb2.CreateJobRequest(shot=shot_to_proto(shot), request_id=request_id)
        reply = await self._unary(self._jobs.CreateJob, message, CREATE_CALL, CREATE_TIMEOUT_S)
        return convert.job_from_proto(reply.job)

    async def get_job(self, name: str) -> Job:
        """Read one job.

        Raises:
            JobNotFound: The backend does not know it.
        """
        reply = await self._unary(self._jobs.GetJob, job_pb2.GetJobRequest(name=name), JOB_CALL)
        return convert.job_from_proto(reply.job)

    async def list_jobs(self) -> tuple[Job, ...]:
        """List all jobs of all pages, newest first."""
        jobs: list[Job] = []
        token = ""
        while True:
            message = job_pb2.ListJobsRequest(page_token=token)
            reply = await self._unary(self._jobs.ListJobs, message)
            jobs += [convert.job_from_proto(job) for job in reply.jobs]
            token = reply.next_page_token
            if not token:
                return tuple(jobs)

    async def cancel_job(self, name: str) -> Job:
        """Ask a job to stop. A job that has ended stays as it is.

        Raises:
            JobNotFound: The backend does not know it.
        """
        message = job_pb2.CancelJobRequest(name=name)
        reply = await self._unary(self._jobs.CancelJob, message, JOB_CALL)
        return convert.job_from_proto(reply.job)

    async def watch_job(
        self,
        name: str,
        after_sequence: int = 0,
        *,
        on_link: Callable[[ClientError | None], None] | None = None,
    ) -> AsyncGenerator[JobEvent, None]:
        """Follow a job from any point of its history until it ends.

        Every event comes once and in order, even over a bad connection. If the link is lost, or the
        backend has too many calls, the watch resumes by itself. It waits 0.2 s, then twice as long
        each time, at most 5 s. `on_link` receives the error when the link is lost and None when it
        is back.

        Raises:
            JobNotFound: The backend does not know it.
        """
        delay_s = FIRST_DELAY_S
        lost = False
        while True:
            seen = after_sequence
            try:
                async with aclosing(self._watch_once(name, after_sequence)) as events:
                    async for event in events:
                        if lost and on_link:
                            on_link(None)
                        lost, delay_s = False, FIRST_DELAY_S
                        if event.sequence <= after_sequence:
                            continue
                        after_sequence = event.sequence
                        yield event
                        if event.state is not None and event.state.is_terminal:
                            return
                # A stream without news was closed to be resumed, unless the job had already ended.
                if after_sequence == seen and await self._has_ended(name, after_sequence):
                    return
            except (BackendUnreachable, BackendFull) as error:
                lost = True
                if on_link:
                    on_link(error)
            await asyncio.sleep(delay_s)
            delay_s = min(delay_s * 2, LONGEST_DELAY_S)

    async def _has_ended(self, name: str, after_sequence: int) -> bool:
        job = await self.get_job(name)
        return job.state.is_terminal and job.last_sequence <= after_sequence

    async def _watch_once(self, name: str, after_sequence: int) -> AsyncGenerator[JobEvent, None]:
        message = job_pb2.WatchJobRequest(name=name, after_sequence=after_sequence)
        async with self._stream(self._jobs.WatchJob, message, JOB_CALL) as replies:
            async for reply in replies:
                yield convert.event_from_proto(reply.event)

    async def list_artifacts(self, job: str) -> tuple[Artifact, ...]:
        """List the files of a job's take from all pages, in path order.

        Files of a kind or format that only a newer version knows are left out.

        Raises:
            JobNotFound: The backend does not know the job.
        """
        artifacts: list[Artifact] = []
        token = ""
        while True:
            message = artifact_pb2.ListArtifactsRequest(parent=job, page_token=token)
            reply = await self._unary(self._artifacts.ListArtifacts, message, JOB_CALL)
            artifacts += filter(None, map(convert.artifact_from_proto, reply.artifacts))
            token = reply.next_page_token
            if not token:
                return tuple(artifacts)

    async def read_artifact(
        self, name: str, offset: int = 0, *, if_sha256: str = ""
    ) -> AsyncGenerator[bytes, None]:
        """Read a file from `offset` in chunks of at most 1 MiB, each checked by its CRC32C.

        Raises:
            ArtifactNotFound: The backend has no such file.
            NotReady: The content has another hash than `if_sha256`.
            DamagedArtifact: A chunk does not match its checksum or is misplaced.
            BackendUnreachable: The connection was lost. Continue after the received bytes.
        """
        message = artifact_pb2.ReadArtifactRequest(name=name, offset=offset, if_sha256=if_sha256)
        async with (
            self._stream(self._artifacts.ReadArtifact, message, ARTIFACT_CALL) as replies,
            aclosing(download.checked_chunks(name, replies, offset)) as chunks,
        ):
            async for data in chunks:
                yield data

    async def download(
        self,
        artifact: Artifact,
        path: Path,
        *,
        on_bytes: Callable[[int], None] | None = None,
    ) -> None:
        """Write a file to `path`, whole and checked by SHA-256, or not at all.

        Bytes gather in `path` + `.part`, which an earlier attempt may have begun. A lost connection
        is resumed at the last offset. `on_bytes` receives each chunk's length.

        Raises:
            ArtifactNotFound: The backend has no such file.
            DamagedArtifact: The bytes do not match the artifact's SHA-256. None are kept.
            LocalDiskFull: The disk has no space left for `path`. No bytes are kept.
            BackendUnreachable: The link was lost five times without a byte. The part is kept.
        """
        await download.download(self.read_artifact, artifact, path, on_bytes)

    async def list_models(self) -> tuple[Model, ...]:
        """List the models a shot may name, with their limits."""
        reply = await self._unary(self._models.ListModels, system_pb2.ListModelsRequest())
        return tuple(convert.model_from_proto(model) for model in reply.models)

    async def server_info(self) -> ServerInfo:
        """Read the backend's versions, limits and load."""
        reply = await self._unary(self._system.GetServerInfo, system_pb2.GetServerInfoRequest())
        return convert.server_info_from_proto(reply)

    async def _unary(
        self,
        method: Callable[..., Awaitable[Any]],
        message: Any,
        narrower: _Narrower | None = None,
        timeout_s: float = UNARY_TIMEOUT_S,
    ) -> Any:
        async with translated(self.address, narrower):
            return await method(message, timeout=timeout_s, metadata=self._metadata)

    @asynccontextmanager
    async def _stream(
        self, method: Any, message: Any, narrower: _Narrower
    ) -> AsyncIterator[AsyncIterator[Any]]:
        async with (
            translated(self.address, narrower),
            method.open(metadata=self._metadata) as stream,
        ):
            await stream.send_message(message, end=True)
            async with aclosing(_replies(stream)) as replies:
                yield replies


async def _replies(stream: Any) -> AsyncGenerator[Any, None]:
    """Yield all messages. If the stream ends with an error, raise it before the end is judged."""
    async for reply in stream:
        yield reply
    await stream.recv_trailing_metadata()


def _open_channel(address: Address) -> Channel:
    codec = DetailsCodec()
    if address.path:
        return Channel(path=address.path, status_details_codec=codec, config=_configuration())
    return Channel(address.host, address.port, status_details_codec=codec, config=_configuration())
