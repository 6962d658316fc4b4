"""Converts the backend's answers to their wire form: jobs, events, artifacts and models."""

from layert2v.v1 import artifact_pb2, job_pb2, system_pb2
from layert2v_backend.jobs import Artifact, Job, JobEvent
from layert2v_backend.models import Model
from layert2v_domain.job import JobState, Progress
from layert2v_wire.artifacts import format_to_proto, kind_to_proto
from layert2v_wire.jobs import (
    error_to_proto,
    progress_to_proto,
    report_to_proto,
    state_to_proto,
    time_to_proto,
    unknown_words_to_proto,
)
from layert2v_wire.shots import shot_to_proto


def job_to_proto(job: Job) -> job_pb2.Job:
    """Turn a job into its wire form."""
    return job_pb2.Job(
        name=f"jobs/{job.id}",
        shot=shot_to_proto(job.shot),
        state=state_to_proto(job.state),
        attempt=job.attempt,
        last_sequence=job.last_sequence,
        create_time=time_to_proto(job.create_time),
        update_time=time_to_proto(job.update_time),
        error=error_to_proto(job.error) if job.error else None,
        report=report_to_proto(job.report) if job.report else None,
        seconds=job.seconds,
        unknown_words=map(unknown_words_to_proto, job.unknown_words),
    )


def event_to_proto(event: JobEvent) -> job_pb2.JobEvent:
    """Turn an event into its wire form."""
    message = job_pb2.JobEvent(
        sequence=event.sequence, attempt=event.attempt, time=time_to_proto(event.time)
    )
    if isinstance(event.what, JobState):
        message.state = state_to_proto(event.what)
    elif isinstance(event.what, Progress):
        message.progress.CopyFrom(progress_to_proto(event.what))
    else:
        message.message = event.what
    return message


def artifact_to_proto(job_id: str, artifact: Artifact) -> artifact_pb2.Artifact:
    """Turn an artifact into its wire form."""
    return artifact_pb2.Artifact(
        name=f"jobs/{job_id}/artifacts/{artifact.id}",
        kind=kind_to_proto(artifact.kind),
        format=format_to_proto(artifact.format),
        layer_index=artifact.layer_index,
        frame_index=artifact.frame_index,
        path=artifact.path,
        size_bytes=artifact.size_bytes,
        sha256=artifact.sha256,
    )


def model_to_proto(model: Model) -> system_pb2.Model:
    """Turn a model into its wire form."""
    limits, vocabulary = model.limits, model.limits.vocabulary
    return system_pb2.Model(
        id=limits.id,
        description=limits.description,
        sizes=[system_pb2.Size(width=width, height=height) for width, height in limits.sizes],
        num_frames=limits.num_frames,
        max_foregrounds=limits.max_foregrounds,
        max_prompt_chars=limits.max_prompt_chars,
        default_num_inference_steps=limits.default_num_inference_steps,
        default_guidance_scale=limits.default_guidance_scale,
        fps=limits.fps,
        vocabulary=system_pb2.Vocabulary(**vars(vocabulary)) if vocabulary else None,
    )
