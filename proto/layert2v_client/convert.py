"""Protobuf to dataclasses and back, both directions side by side. Protobuf never leaves here."""

from datetime import UTC, datetime

from google.protobuf.timestamp_pb2 import Timestamp

from layert2v.v1 import artifact_pb2, job_pb2, shot_pb2, system_pb2
from layert2v_client.artifact import Artifact, ArtifactFormat, ArtifactKind
from layert2v_client.job import (
    FinishingReport,
    Job,
    JobError,
    JobEvent,
    JobStage,
    JobState,
    Progress,
)
from layert2v_client.shot import KeptLayer, LayerRole, LayerSpec, Shot
from layert2v_client.system import Model, ServerInfo
from layert2v_words import UnknownWords, Vocabulary

_ROLES = {
    LayerRole.BACKGROUND: shot_pb2.LAYER_ROLE_BACKGROUND,
    LayerRole.FOREGROUND: shot_pb2.LAYER_ROLE_FOREGROUND,
}
_ROLES_BACK = {number: role for role, number in _ROLES.items()}


def shot_to_proto(shot: Shot) -> shot_pb2.Shot:
    """Write a shot for the wire."""
    return shot_pb2.Shot(
        model=shot.model,
        prompt=shot.prompt,
        negative_prompt=shot.negative_prompt,
        layers=[_layer_to_proto(layer) for layer in shot.layers],
        width=shot.width,
        height=shot.height,
        num_frames=shot.num_frames,
        seed=shot.seed,
        num_inference_steps=shot.num_inference_steps,
        guidance_scale=shot.guidance_scale,
        skip_finishing=shot.skip_finishing,
    )


def shot_from_proto(message: shot_pb2.Shot) -> Shot:
    """Read a shot from the wire."""
    return Shot(
        layers=tuple(_layer_from_proto(layer) for layer in message.layers),
        prompt=message.prompt,
        negative_prompt=message.negative_prompt,
        model=message.model,
        width=message.width,
        height=message.height,
        num_frames=message.num_frames,
        seed=message.seed,
        num_inference_steps=message.num_inference_steps,
        guidance_scale=message.guidance_scale,
        skip_finishing=message.skip_finishing,
    )


def _layer_to_proto(layer: LayerSpec) -> shot_pb2.LayerSpec:
    message = shot_pb2.LayerSpec(role=_ROLES[layer.role], prompt=layer.prompt, seed=layer.seed)
    if layer.kept is not None:
        message.kept.job = layer.kept.job
        message.kept.layer_index = layer.kept.layer_index
    return message


def _layer_from_proto(message: shot_pb2.LayerSpec) -> LayerSpec:
    kept = None
    if message.HasField("kept"):
        kept = KeptLayer(message.kept.job, message.kept.layer_index)
    return LayerSpec(
        role=_ROLES_BACK[message.role],
        prompt=message.prompt,
        seed=message.seed if message.HasField("seed") else None,
        kept=kept,
    )


def job_from_proto(message: job_pb2.Job) -> Job:
    """Read a job from the wire."""
    error = report = None
    if message.HasField("error"):
        error = JobError(message.error.reason, message.error.message)
    if message.HasField("report"):
        report = _report_from_proto(message.report)
    return Job(
        name=message.name,
        shot=shot_from_proto(message.shot),
        state=_state_from_proto(message.state),
        attempt=message.attempt,
        last_sequence=message.last_sequence,
        create_time=_time_from_proto(message.create_time),
        update_time=_time_from_proto(message.update_time),
        error=error,
        report=report,
        seconds=dict(message.seconds),
        unknown_words=tuple(map(_unknown_words_from_proto, message.unknown_words)),
    )


def event_from_proto(message: job_pb2.JobEvent) -> JobEvent:
    """Read one entry of a job's history from the wire."""
    kind = message.WhichOneof("event")
    return JobEvent(
        sequence=message.sequence,
        attempt=message.attempt,
        time=_time_from_proto(message.time),
        state=_state_from_proto(message.state) if kind == "state" else None,
        progress=_progress_from_proto(message.progress) if kind == "progress" else None,
        message=message.message if kind == "message" else None,
    )


def _progress_from_proto(message: job_pb2.JobProgress) -> Progress:
    return Progress(
        stage=_stage_from_proto(message.stage),
        step=message.step,
        num_steps=message.num_steps,
        fraction=message.fraction,
        eta_s=message.eta_s if message.eta_s >= 0 else None,
    )


def _report_from_proto(message: job_pb2.FinishingReport) -> FinishingReport:
    return FinishingReport(
        recomposition_before=message.recomposition_before,
        recomposition_after=message.recomposition_after,
        recomposition_worst=message.recomposition_worst,
        worst_frame=message.worst_frame,
        outline_ratio=message.outline_ratio,
        matte_change=message.matte_change,
        ghost_slope=message.ghost_slope,
        spill=message.spill,
        soft_share=message.soft_share,
        empty_mattes=tuple(message.empty_mattes),
        empty_frames=tuple(message.empty_frames),
    )


def _unknown_words_from_proto(message: job_pb2.UnknownWords) -> UnknownWords:
    return UnknownWords(
        layer_index=message.layer_index,
        words=message.words,
        nearest=tuple(message.nearest),
        message=message.message,
    )


def _state_from_proto(number: job_pb2.JobState.ValueType) -> JobState:
    return JobState(job_pb2.JobState.Name(number).removeprefix("JOB_STATE_").lower())


def _stage_from_proto(number: job_pb2.JobStage.ValueType) -> JobStage:
    """Read a stage; one that a newer backend has is shown as unknown, not refused."""
    if number not in job_pb2.JobStage.values() or number == job_pb2.JOB_STAGE_UNSPECIFIED:
        return JobStage.UNKNOWN
    return JobStage(job_pb2.JobStage.Name(number).removeprefix("JOB_STAGE_").lower())


def _time_from_proto(message: Timestamp) -> datetime | None:
    return message.ToDatetime(UTC) if message.seconds else None


def artifact_from_proto(message: artifact_pb2.Artifact) -> Artifact:
    """Read an artifact's description from the wire."""
    kind = artifact_pb2.ArtifactKind.Name(message.kind).removeprefix("ARTIFACT_KIND_")
    form = artifact_pb2.ArtifactFormat.Name(message.format).removeprefix("ARTIFACT_FORMAT_")
    return Artifact(
        name=message.name,
        kind=ArtifactKind(kind.lower()),
        format=ArtifactFormat(form.lower()),
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
    """Read what a backend is from the wire."""
    return ServerInfo(
        version=message.version,
        api_version=message.api_version,
        num_queued=message.num_queued,
        num_running=message.num_running,
        free_bytes=message.free_bytes,
        is_model_loaded=message.is_model_loaded,
    )
