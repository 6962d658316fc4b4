"""Converts a job's state, progress, error and report to protobuf and back."""

import math
from datetime import UTC, datetime

from google.protobuf.timestamp_pb2 import Timestamp

from layert2v.v1 import job_pb2
from layert2v_domain.job import FinishingReport, JobError, JobStage, JobState, Progress
from layert2v_words import UnknownWords

_NO_ETA_S = -1.0


def state_to_proto(state: JobState) -> job_pb2.JobState.ValueType:
    """Write a state for the wire."""
    return job_pb2.JobState.Value(f"JOB_STATE_{state.name}")


def state_from_proto(number: job_pb2.JobState.ValueType) -> JobState:
    """Read a state from the wire.

    Raises:
        ValueError: No known version has it.
    """
    return JobState(job_pb2.JobState.Name(number).removeprefix("JOB_STATE_").lower())


def progress_to_proto(progress: Progress) -> job_pb2.JobProgress:
    """Write progress for the wire."""
    return job_pb2.JobProgress(
        stage=_stage_to_proto(progress.stage),
        step=progress.step,
        num_steps=progress.num_steps,
        fraction=progress.fraction,
        eta_s=_NO_ETA_S if progress.eta_s is None else progress.eta_s,
    )


def progress_from_proto(message: job_pb2.JobProgress) -> Progress:
    """Read progress from the wire. A stage of another version becomes `JobStage.UNKNOWN`."""
    return Progress(
        stage=_stage_from_proto(message.stage),
        step=message.step,
        num_steps=message.num_steps,
        fraction=message.fraction,
        eta_s=message.eta_s if 0 <= message.eta_s < math.inf else None,
    )


def _stage_to_proto(stage: JobStage) -> job_pb2.JobStage.ValueType:
    if stage is JobStage.UNKNOWN:
        return job_pb2.JOB_STAGE_UNSPECIFIED
    return job_pb2.JobStage.Value(f"JOB_STAGE_{stage.name}")


def _stage_from_proto(number: job_pb2.JobStage.ValueType) -> JobStage:
    if number not in job_pb2.JobStage.values() or number == job_pb2.JOB_STAGE_UNSPECIFIED:
        return JobStage.UNKNOWN
    return JobStage(job_pb2.JobStage.Name(number).removeprefix("JOB_STAGE_").lower())


def error_to_proto(error: JobError) -> job_pb2.JobError:
    """Write an error for the wire."""
    return job_pb2.JobError(reason=error.reason, message=error.message)


def error_from_proto(message: job_pb2.JobError) -> JobError:
    """Read an error from the wire."""
    return JobError(message.reason, message.message)


def report_to_proto(report: FinishingReport) -> job_pb2.FinishingReport:
    """Write a report for the wire, which has the same fields."""
    return job_pb2.FinishingReport(**vars(report))


def report_from_proto(message: job_pb2.FinishingReport) -> FinishingReport:
    """Read a report from the wire."""
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


def unknown_words_to_proto(unknown: UnknownWords) -> job_pb2.UnknownWords:
    """Write unknown words for the wire, which has the same fields."""
    return job_pb2.UnknownWords(**vars(unknown))


def unknown_words_from_proto(message: job_pb2.UnknownWords) -> UnknownWords:
    """Read unknown words from the wire."""
    return UnknownWords(
        layer_index=message.layer_index,
        words=message.words,
        nearest=tuple(message.nearest),
        message=message.message,
    )


def time_to_proto(unix_s: float) -> Timestamp:
    """Write Unix seconds as a timestamp, to the microsecond."""
    stamp = Timestamp()
    stamp.FromMicroseconds(round(unix_s * 1e6))
    return stamp


def time_from_proto(message: Timestamp) -> datetime | None:
    """Read a timestamp, UTC, or give None if it is absent.

    Raises:
        OverflowError, ValueError: No calendar holds it.
    """
    return message.ToDatetime(UTC) if message.seconds else None
