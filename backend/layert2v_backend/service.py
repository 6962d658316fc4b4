"""The servicers. They convert, ask the scheduler and convert back, but decide nothing."""

import asyncio
from collections.abc import AsyncGenerator
from contextlib import aclosing
from functools import lru_cache
from importlib.metadata import version
from itertools import accumulate
from typing import Any, TypeAlias

import grpc

from layert2v.v1 import (
    artifact_pb2,
    artifact_pb2_grpc,
    job_pb2,
    job_pb2_grpc,
    system_pb2,
    system_pb2_grpc,
)
from layert2v_backend.artifacts import free_bytes
from layert2v_backend.checks.kept_layers import kept_job_ids
from layert2v_backend.checks.shots import fill_shot
from layert2v_backend.convert import requests, results
from layert2v_backend.errors import (
    ContentDiffers,
    InvalidRequest,
    OffsetPastEnd,
    shown,
)
from layert2v_backend.jobs import Artifact, JobEvent
from layert2v_backend.reading import chunk_messages
from layert2v_backend.scheduler import Scheduler
from layert2v_domain.job import JobState
from layert2v_wire.shots import shot_from_proto

API_VERSION = "layert2v.v1"
_DEFAULT_PAGE_JOBS = 50
_PAGE_BYTES = 2 << 20
"""Most bytes of the jobs in a page. Clients with grpcio refuse over 4 MiB by default."""

Context: TypeAlias = "grpc.aio.ServicerContext[Any, Any]"


class JobService(job_pb2_grpc.JobServiceServicer):
    """`layert2v.v1.JobService`."""

    def __init__(self, scheduler: Scheduler) -> None:
        self._scheduler = scheduler

    async def CreateJob(
        self, request: job_pb2.CreateJobRequest, context: Context
    ) -> job_pb2.CreateJobResponse:
        """Queue a shot. A repeated request finds the job that it created."""
        request_id = requests.request_id_from_proto(request.request_id)
        requests.check_num_layers(request.shot)
        sha256 = requests.request_sha256(request.shot)
        scheduler = self._scheduler
        job = await scheduler.find_request(request_id, sha256) if request_id else None
        if job is None:
            asked = shot_from_proto(request.shot)
            sources = await scheduler.find_jobs(kept_job_ids(asked))
            shot = fill_shot(asked, scheduler.catalogue, sources)
            await scheduler.admit(shot)
            job = await scheduler.create(shot, sha256, request_id)
        return job_pb2.CreateJobResponse(job=results.job_to_proto(job))

    async def GetJob(
        self, request: job_pb2.GetJobRequest, context: Context
    ) -> job_pb2.GetJobResponse:
        """Read one job."""
        job = await self._scheduler.get(requests.job_id_from_name(request.name))
        return job_pb2.GetJobResponse(job=results.job_to_proto(job))

    async def ListJobs(
        self, request: job_pb2.ListJobsRequest, context: Context
    ) -> job_pb2.ListJobsResponse:
        """List jobs, newest first."""
        limit = requests.page_size_from_proto(
            request.page_size, _DEFAULT_PAGE_JOBS, requests.MAX_PAGE_JOBS
        )
        before = requests.job_page_from_proto(request.page_token)
        page = await self._scheduler.list_jobs(limit + 1, before)
        jobs = _within_bytes([results.job_to_proto(job) for _, job in page[:limit]])
        has_more = len(page) > len(jobs)
        token = requests.page_token_to_proto(str(page[len(jobs) - 1][0])) if has_more else ""
        return job_pb2.ListJobsResponse(jobs=jobs, next_page_token=token)

    async def WatchJob(
        self, request: job_pb2.WatchJobRequest, context: Context
    ) -> AsyncGenerator[bytes, None]:
        """Follow a job's events. Each is serialized once for all its watchers."""
        job_id = requests.job_id_from_name(request.name)
        if request.after_sequence < 0:
            raise InvalidRequest(
                f"after_sequence: {request.after_sequence} is negative: ask from 0 for all events"
            )
        async for event in self._scheduler.watch(job_id, request.after_sequence):
            yield _event_bytes(event)

    async def CancelJob(
        self, request: job_pb2.CancelJobRequest, context: Context
    ) -> job_pb2.CancelJobResponse:
        """Cancel a job."""
        job = await self._scheduler.cancel(requests.job_id_from_name(request.name))
        return job_pb2.CancelJobResponse(job=results.job_to_proto(job))


@lru_cache(maxsize=1024)
def _event_bytes(event: JobEvent) -> bytes:
    """Serialize a `WatchJobResponse` with one event."""
    return job_pb2.WatchJobResponse(event=results.event_to_proto(event)).SerializeToString()


def _within_bytes(jobs: list[job_pb2.Job]) -> list[job_pb2.Job]:
    """Give the first of `jobs` that fit into one message, but at least one."""
    sizes = accumulate(job.ByteSize() for job in jobs)
    num_fitting = sum(size <= _PAGE_BYTES for size in sizes)
    return jobs[: max(num_fitting, 1)]


class ArtifactService(artifact_pb2_grpc.ArtifactServiceServicer):
    """`layert2v.v1.ArtifactService`."""

    def __init__(self, scheduler: Scheduler) -> None:
        self._scheduler = scheduler

    async def ListArtifacts(
        self, request: artifact_pb2.ListArtifactsRequest, context: Context
    ) -> artifact_pb2.ListArtifactsResponse:
        """List the artifacts of a job in path order."""
        job_id = requests.job_id_from_name(request.parent, "parent")
        largest = requests.MAX_PAGE_ARTIFACTS
        limit = requests.page_size_from_proto(request.page_size, largest, largest)
        after = requests.page_token_from_proto(request.page_token)
        page = await self._scheduler.list_artifacts(job_id, after, limit + 1)
        token = requests.page_token_to_proto(page[limit - 1].path) if len(page) > limit else ""
        artifacts = [results.artifact_to_proto(job_id, artifact) for artifact in page[:limit]]
        return artifact_pb2.ListArtifactsResponse(artifacts=artifacts, next_page_token=token)

    async def ReadArtifact(
        self, request: artifact_pb2.ReadArtifactRequest, context: Context
    ) -> AsyncGenerator[artifact_pb2.ReadArtifactResponse | bytes, None]:
        """Stream one artifact in chunks of serialized bytes."""
        job_id, artifact_id = requests.artifact_ids_from_name(request.name)
        artifact = await self._scheduler.get_artifact(job_id, artifact_id)
        _check_reading(request, artifact)
        header = artifact_pb2.ReadArtifactHeader(
            artifact=results.artifact_to_proto(job_id, artifact)
        )
        yield artifact_pb2.ReadArtifactResponse(header=header)
        store = self._scheduler.store
        path = store.path(artifact.sha256)
        if not artifact.checksums:
            # The take was published before blocks had checksums.
            await asyncio.to_thread(store.check, artifact.sha256, artifact.size_bytes)
        async with aclosing(chunk_messages(path, artifact, request.offset)) as messages:
            async for message in messages:
                yield message
        trailer = artifact_pb2.ReadArtifactTrailer(
            sha256=artifact.sha256, size_bytes=artifact.size_bytes
        )
        yield artifact_pb2.ReadArtifactResponse(trailer=trailer)


def _check_reading(request: artifact_pb2.ReadArtifactRequest, artifact: Artifact) -> None:
    if request.offset < 0:
        raise InvalidRequest(f"offset: {request.offset} is negative: read from 0 or later")
    if request.offset > artifact.size_bytes:
        raise OffsetPastEnd(
            f"offset: {request.offset} is past the end of {shown(request.name)}, "
            f"{artifact.size_bytes} bytes"
        )
    if request.if_sha256 and request.if_sha256 != artifact.sha256:
        raise ContentDiffers(
            f"if_sha256: {shown(request.name)} has SHA-256 {artifact.sha256}, not "
            f"{shown(request.if_sha256)}: read it from the start"
        )


class ModelService(system_pb2_grpc.ModelServiceServicer):
    """`layert2v.v1.ModelService`."""

    def __init__(self, scheduler: Scheduler) -> None:
        self._scheduler = scheduler

    async def ListModels(
        self, request: system_pb2.ListModelsRequest, context: Context
    ) -> system_pb2.ListModelsResponse:
        """List the models a shot may name."""
        models = self._scheduler.catalogue.models.values()
        return system_pb2.ListModelsResponse(models=map(results.model_to_proto, models))


class SystemService(system_pb2_grpc.SystemServiceServicer):
    """`layert2v.v1.SystemService`."""

    def __init__(self, scheduler: Scheduler) -> None:
        self._scheduler = scheduler

    async def GetServerInfo(
        self, request: system_pb2.GetServerInfoRequest, context: Context
    ) -> system_pb2.GetServerInfoResponse:
        """Describe the backend and its load."""
        running = (JobState.RUNNING, JobState.CANCELLING)
        return system_pb2.GetServerInfoResponse(
            version=version("layert2v"),
            api_version=API_VERSION,
            num_queued=await self._scheduler.count(JobState.QUEUED),
            num_running=await self._scheduler.count(*running),
            free_bytes=free_bytes(self._scheduler.store.root),
            is_model_loaded=self._scheduler.is_model_loaded,
        )
