import pytest

from layert2v_backend.worker_protocol import STAGE_SHARES, StageProgress
from layert2v_domain.job import JobStage


def test_the_fraction_grows_from_0_to_1_over_the_stages() -> None:
    fractions = [
        StageProgress(stage, step, 4).fraction for stage in STAGE_SHARES for step in range(5)
    ]

    assert fractions == sorted(fractions)
    assert (fractions[0], fractions[-1]) == (0.0, pytest.approx(1.0))
    assert set(STAGE_SHARES) == set(JobStage) - {JobStage.UNKNOWN}
    assert sum(STAGE_SHARES.values()) == pytest.approx(1.0)


def test_a_stage_of_unknown_length_stands_at_its_beginning() -> None:
    assert StageProgress(JobStage.ENCODING, 3, 0).fraction == STAGE_SHARES[JobStage.LOADING]
