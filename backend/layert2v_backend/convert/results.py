"""What the backend answers, in its wire form: jobs, events, artifacts, models."""

from google.protobuf.timestamp_pb2 import Timestamp

from layert2v.v1 import artifact_pb2, job_pb2, system_pb2
from layert2v_backend.convert.shots import shot_to_proto
from layert2v_backend.jobs import (
    Artifact,
    FinishingReport,
    Job,
    JobEvent,
    JobProgress,
    JobState,
)
from layert2v_backend.models import Model


def time_to_proto(unix_s: float) -> Timestamp:
    """Turn Unix seconds into a timestamp, to the microsecond."""
    stamp = Timestamp()
    stamp.FromMicroseconds(round(unix_s * 1e6))
    return stamp


def job_to_proto(job: Job) -> job_pb2.Job:
    """Turn a job into its wire form."""
    return job_pb2.Job(
        name=f"jobs/{job.id}",
        shot=shot_to_proto(job.shot),
        state=_state_to_proto(job.state),
        attempt=job.attempt,
        last_sequence=job.last_sequence,
        create_time=time_to_proto(job.create_time),
        update_time=time_to_proto(job.update_time),
        error=(
            job_pb2.JobError(reason=job.error.reason, message=job.error.message)
            if job.error
            else None
        ),
        report=_report_to_proto(job.report) if job.report else None,
        seconds=job.seconds,
        unknown_words=[job_pb2.UnknownWords(**vars(each)) for each in job.unknown_words],
    )


def _state_to_proto(state: JobState) -> job_pb2.JobState.ValueType:
    return job_pb2.JobState.Value(f"JOB_STATE_{state.name}")


def _report_to_proto(report: FinishingReport) -> job_pb2.FinishingReport:
    return job_pb2.FinishingReport(**vars(report))


def event_to_proto(event: JobEvent) -> job_pb2.JobEvent:
    """Turn an event into its wire form."""
    message = job_pb2.JobEvent(
        sequence=event.sequence, attempt=event.attempt, time=time_to_proto(event.time)
    )
    if isinstance(event.what, JobState):
        message.state = _state_to_proto(event.what)
    elif isinstance(event.what, JobProgress):
        message.progress.CopyFrom(_progress_to_proto(event.what))
    else:
        message.message = event.what
    return message


def _progress_to_proto(progress: JobProgress) -> job_pb2.JobProgress:
    return job_pb2.JobProgress(
        stage=job_pb2.JobStage.Value(f"JOB_STAGE_{progress.stage.name}"),
        step=progress.step,
        num_steps=progress.num_steps,
        fraction=progress.fraction,
        eta_s=progress.eta_s,
    )


def artifact_to_proto(job_id: str, artifact: Artifact) -> artifact_pb2.Artifact:
    """Turn an artifact into its wire form."""
    return artifact_pb2.Artifact(
        name=f"jobs/{job_id}/artifacts/{artifact.id}",
        kind=artifact_pb2.ArtifactKind.Value(f"ARTIFACT_KIND_{artifact.kind.name}"),
        format=artifact_pb2.ArtifactFormat.Value(f"ARTIFACT_FORMAT_{artifact.format.name}"),
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
