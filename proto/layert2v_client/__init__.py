"""The only typed client of a LayerT2V backend.

The add-on, the command line and the tests use it. It is pure Python (grpclib) and asyncio, without
bpy or torch. No protobuf or grpclib value leaves it. This module is its public face. It gives the
client's own values and those of `layert2v_domain` that a caller needs.

Example:
    ```python
    async with Client.connect(default_address()) as client:
        job = await client.create_job(shot, request_id=str(uuid.uuid4()))
        async for event in client.watch_job(job.name):
            ...
    ```
"""

from layert2v_client.address import Address, default_address, parse_address
from layert2v_client.artifact import Artifact
from layert2v_client.client import Client
from layert2v_client.errors import (
    ArtifactNotFound,
    BackendBusy,
    BackendFailed,
    BackendFull,
    BackendTimeout,
    BackendUnreachable,
    BadAddress,
    CallCancelled,
    ClientError,
    DamagedArtifact,
    InvalidRequest,
    InvalidShot,
    JobNotFound,
    LocalDiskFull,
    NotAuthorised,
    NotFound,
    NotReady,
    RequestConflict,
    TokenInClear,
    VersionMismatch,
)
from layert2v_client.job import Job, JobEvent
from layert2v_client.status import Violation
from layert2v_client.system import Model, ServerInfo
from layert2v_domain.artifact import ArtifactFormat, ArtifactKind
from layert2v_domain.job import FinishingReport, JobError, JobStage, JobState, Progress
from layert2v_domain.shot import KeptLayer, LayerRole, LayerSpec, Shot

__all__ = [
    "Address",
    "Artifact",
    "ArtifactFormat",
    "ArtifactKind",
    "ArtifactNotFound",
    "BackendBusy",
    "BackendFailed",
    "BackendFull",
    "BackendTimeout",
    "BackendUnreachable",
    "BadAddress",
    "CallCancelled",
    "Client",
    "ClientError",
    "DamagedArtifact",
    "FinishingReport",
    "InvalidRequest",
    "InvalidShot",
    "Job",
    "JobError",
    "JobEvent",
    "JobNotFound",
    "JobStage",
    "JobState",
    "KeptLayer",
    "LayerRole",
    "LayerSpec",
    "LocalDiskFull",
    "Model",
    "NotAuthorised",
    "NotFound",
    "NotReady",
    "Progress",
    "RequestConflict",
    "ServerInfo",
    "Shot",
    "TokenInClear",
    "VersionMismatch",
    "Violation",
    "default_address",
    "parse_address",
]
