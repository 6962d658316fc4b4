"""Converts messages to the client's values. Protobuf stays here and in `layert2v_wire`.

A value that this version does not know raises `VersionMismatch`.
"""

from collections.abc import Iterator
from contextlib import contextmanager

from layert2v.v1 import artifact_pb2, job_pb2, system_pb2
from layert2v_client.artifact import Artifact
from layert2v_client.errors import VersionMismatch
from layert2v_client.job import Job, JobEvent
from layert2v_client.system import Model, ServerInfo
from layert2v_wire.artifacts import format_from_proto, kind_from_proto
from layert2v_wire.jobs import (
    error_from_proto,
    progress_from_proto,
    report_from_proto,
    state_from_proto,
    time_from_proto,
    unknown_words_from_proto,
)
from layert2v_wire.shots import shot_from_proto
from layert2v_words import Vocabulary


@contextmanager
def _known(what: str) -> Iterator[None]:
    """Say in words what cannot be read; as a decorator, for a whole function."""
    try:
        yield
    except (ValueError, OverflowError) as error:
        raise VersionMismatch(f"The backend sent {what} that this version cannot read.") from error


@_known("a job")
def job_from_proto(message: job_pb2.Job) -> Job:
    """Read a job from the wire."""
    error = report = None
    if message.HasField("error"):
        error = error_from_proto(message.error)
    if message.HasField("report"):
        report = report_from_proto(message.report)
    return Job(
        name=message.name,
        shot=shot_from_proto(message.shot),
        state=state_from_proto(message.state),
        attempt=message.attempt,
        last_sequence=message.last_sequence,
        create_time=time_from_proto(message.create_time),
        update_time=time_from_proto(message.update_time),
        error=error,
        report=report,
        seconds=dict(message.seconds),
        unknown_words=tuple(map(unknown_words_from_proto, message.unknown_words)),
    )


@_known("an event")
def event_from_proto(message: job_pb2.JobEvent) -> JobEvent:
    """Read one entry of a job's history from the wire."""
    kind = message.WhichOneof("event")
    return JobEvent(
        sequence=message.sequence,
        attempt=message.attempt,
        time=time_from_proto(message.time),
        state=state_from_proto(message.state) if kind == "state" else None,
        progress=progress_from_proto(message.progress) if kind == "progress" else None,
        message=message.message if kind == "message" else None,
    )


def artifact_from_proto(message: artifact_pb2.Artifact) -> Artifact | None:
    """Read an artifact's description from the wire; None for a kind or format of a newer version.

    Such a file shows what this version cannot use, and the rest of the take is whole without it.
    """
    try:
        kind, stored = kind_from_proto(message.kind), format_from_proto(message.format)
    except ValueError:
        return None
    return Artifact(
        name=message.name,
        kind=kind,
        format=stored,
        layer_index=message.layer_index,
        frame_index=message.frame_index,
        path=message.path,
        size_bytes=message.size_bytes,
        sha256=message.sha256,
    )


def model_from_proto(message: system_pb2.Model) -> Model:
    """Read a model's limits from the wire."""
    return Model(
        id=message.id,
        description=message.description,
        sizes=tuple((size.width, size.height) for size in message.sizes),
        num_frames=tuple(message.num_frames),
        max_foregrounds=message.max_foregrounds,
        max_prompt_chars=message.max_prompt_chars,
        default_num_inference_steps=message.default_num_inference_steps,
        default_guidance_scale=message.default_guidance_scale,
        fps=message.fps,
        vocabulary=(
            _vocabulary_from_proto(message.vocabulary) if message.HasField("vocabulary") else None
        ),
    )


def _vocabulary_from_proto(message: system_pb2.Vocabulary) -> Vocabulary:
    return Vocabulary(
        foregrounds=tuple(message.foregrounds),
        backgrounds=tuple(message.backgrounds),
        motions=tuple(message.motions),
        cameras=tuple(message.cameras),
    )


def server_info_from_proto(message: system_pb2.GetServerInfoResponse) -> ServerInfo:
    """Read a backend's description from the wire."""
    return ServerInfo(
        version=message.version,
        api_version=message.api_version,
        num_queued=message.num_queued,
        num_running=message.num_running,
        free_bytes=message.free_bytes,
        is_model_loaded=message.is_model_loaded,
    )
