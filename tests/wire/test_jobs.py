import pytest

from layert2v.v1 import job_pb2
from layert2v_domain.job import FinishingReport, JobStage, JobState, Progress
from layert2v_wire.jobs import (
    progress_from_proto,
    progress_to_proto,
    report_from_proto,
    report_to_proto,
    state_from_proto,
    state_to_proto,
    unknown_words_from_proto,
    unknown_words_to_proto,
)
from layert2v_words import UnknownWords


@pytest.mark.parametrize("state", JobState)
def test_a_state_survives_the_wire(state: JobState) -> None:
    assert state_from_proto(state_to_proto(state)) is state


@pytest.mark.parametrize("stage", JobStage)
@pytest.mark.parametrize("eta_s", [None, 0.0, 2.5])
def test_progress_survives_the_wire(stage: JobStage, eta_s: float | None) -> None:
    progress = Progress(stage, 1, 4, 0.25, eta_s)

    assert progress_from_proto(progress_to_proto(progress)) == progress


def test_a_stage_of_another_version_is_unknown() -> None:
    message = job_pb2.JobProgress(stage=99)  # type: ignore[arg-type]

    assert progress_from_proto(message).stage is JobStage.UNKNOWN


def test_a_report_survives_the_wire() -> None:
    report = FinishingReport(20.0, float("inf"), 48.0, 3, 0.7, 0.01, 0.02, 0.1, 0.2, (2,), (0, 9))

    assert report_from_proto(report_to_proto(report)) == report


def test_unknown_words_survive_the_wire() -> None:
    unknown = UnknownWords(1, "dragon", ("a fox",), 'sketch knows no "dragon"; nearest: a fox')

    assert unknown_words_from_proto(unknown_words_to_proto(unknown)) == unknown


@pytest.mark.parametrize("eta_s", [-1.0, float("inf"), float("nan")])
def test_a_time_to_the_end_that_is_none_is_unknown(eta_s: float) -> None:
    assert progress_from_proto(job_pb2.JobProgress(eta_s=eta_s)).eta_s is None
