"""Starts a backend from its settings, serves with health and reflection, and drains."""

import asyncio
import os
import shutil
from collections.abc import Callable

import grpc
import structlog
from grpc_health.v1 import health, health_pb2, health_pb2_grpc  # type: ignore[import-untyped]
from grpc_reflection.v1alpha import reflection  # type: ignore[import-untyped]

from layert2v.v1 import (
    artifact_pb2,
    artifact_pb2_grpc,
    job_pb2,
    job_pb2_grpc,
    system_pb2,
    system_pb2_grpc,
)
from layert2v_backend import service
from layert2v_backend.artifacts import ArtifactStore
from layert2v_backend.engine import Engine
from layert2v_backend.errors import CannotServe
from layert2v_backend.journal import Journal
from layert2v_backend.models import DEFAULT_MODEL, find_models
from layert2v_backend.process_engine import ProcessEngine, ProcessOptions
from layert2v_backend.scheduler import Scheduler
from layert2v_backend.server.listening import listening, prepare_folder
from layert2v_backend.settings import Settings
from layert2v_backend.worker_protocol import WorkerOptions

SERVICES = tuple(
    descriptor.full_name
    for file in (job_pb2, artifact_pb2, system_pb2)
    for descriptor in file.DESCRIPTOR.services_by_name.values()
)

log = structlog.get_logger()


async def serve(
    settings: Settings,
    is_stopped: asyncio.Event,
    on_ready: Callable[[str], None],
    engine: Engine | None = None,
) -> None:
    """Serve until told to stop, then drain.

    Args:
        settings: The user's choices.
        is_stopped: An event that stops the backend.
        on_ready: Called once with the address, `unix:PATH` or `HOST:PORT`, when calls are served.
        engine: The engine of the tasks. The default is a worker process.

    Raises:
        CannotServe: The address or the state folder cannot be used, or `compile_blocks` finds no
            compiler. Nothing was started.
    """
    prepare_folder(settings.state)
    async with listening(settings.address) as (server, address):
        journal = Journal(settings.state / "journal.sqlite3")
        engine = engine or _process_engine(settings)
        store = ArtifactStore(settings.state / "artifacts")
        catalogue = find_models(settings.models_dirs)
        for fault in catalogue.faults:
            log.warning("model_unusable", why=fault)
        scheduler = Scheduler(journal, store, catalogue, engine, settings)
        healthy = await _add_services(server, scheduler)
        work = await scheduler.start()
        await server.start()
        on_ready(address)
        if settings.prewarm and DEFAULT_MODEL in catalogue.models:
            await engine.warm(str(catalogue.models[DEFAULT_MODEL].folder))
        stopping = asyncio.create_task(is_stopped.wait())
        await asyncio.wait([stopping, work], return_when=asyncio.FIRST_COMPLETED)
        stopping.cancel()
        log.info("draining")
        await healthy.enter_graceful_shutdown()
        await scheduler.drain()
        await server.stop(settings.drain_grace_s)
        await scheduler.close()
    if not work.cancelled() and (failure := work.exception()):
        raise failure


def _process_engine(settings: Settings) -> ProcessEngine:
    return ProcessEngine(
        ProcessOptions(
            log=settings.state / "worker.log",
            threads=settings.threads,
            hang_timeout_s=settings.hang_timeout_s,
            cancel_grace_s=settings.cancel_grace_s,
            worker=_worker_options(settings),
        )
    )


def _worker_options(settings: Settings) -> WorkerOptions:
    if settings.compile_blocks and not has_compiler():
        raise CannotServe(
            "--compile needs a C++ compiler, but none was found: install one (`apt-get install "
            "g++`), name one in CXX, or leave --compile out"
        )
    options = WorkerOptions(
        settings.memory_bytes,
        settings.offload,
        settings.weights,
        settings.step_cache,
        settings.refresh_kept_every,
        settings.compile_blocks,
        settings.precision,
    )
    if options.approximations:
        log.warning("approximate", **options.approximations)
    return options


def has_compiler() -> bool:
    """Find the C++ compiler that PyTorch's compiler calls."""
    names = (os.environ.get("CXX"), "g++", "clang++", "cl")
    return any(name and shutil.which(name) for name in names)


async def _add_services(server: grpc.aio.Server, scheduler: Scheduler) -> health.aio.HealthServicer:
    job_pb2_grpc.add_JobServiceServicer_to_server(service.JobService(scheduler), server)
    artifact_pb2_grpc.add_ArtifactServiceServicer_to_server(
        service.ArtifactService(scheduler), server
    )
    system_pb2_grpc.add_ModelServiceServicer_to_server(service.ModelService(scheduler), server)
    system_pb2_grpc.add_SystemServiceServicer_to_server(service.SystemService(scheduler), server)
    healthy = health.aio.HealthServicer()
    health_pb2_grpc.add_HealthServicer_to_server(healthy, server)
    for name in SERVICES:
        await healthy.set(name, health_pb2.HealthCheckResponse.SERVING)
    reflection.enable_server_reflection(
        [*SERVICES, health.SERVICE_NAME, reflection.SERVICE_NAME], server
    )
    return healthy
