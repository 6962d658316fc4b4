import pytest
from hypothesis import given

from layert2v_backend.jobs import Artifact, take_path
from layert2v_backend.json_text import from_json, to_json
from layert2v_backend.worker_protocol import STAGE_SHARES, Finished, StageProgress
from layert2v_domain.artifact import ArtifactFormat, ArtifactKind
from layert2v_domain.job import FinishingReport, JobStage
from layert2v_domain.shot import Shot
from support.any_shots import SHOTS


@given(SHOTS)
def test_a_shot_survives_the_trip_to_json(shot: Shot) -> None:
    text = to_json(shot)

    assert from_json(Shot, text) == shot
    assert "\n" not in text


def test_a_report_of_equal_pictures_survives_the_trip_to_json() -> None:
    report = FinishingReport(float("inf"), float("inf"), 1.0, 0, 1.0, 0.0, 0.0, 0.0, 0.0, ())
    finished = Finished((), report, {"loading": 0.25})

    assert from_json(Finished, to_json(finished)) == finished


@pytest.mark.parametrize(
    ("kind", "form", "layer", "frame", "path", "artifact_id"),
    [
        (ArtifactKind.FULL, ArtifactFormat.EXR, -1, 0, "full/exr/full_0001.exr", "full-exr-0001"),
        (
            ArtifactKind.BACKGROUND,
            ArtifactFormat.PNG,
            0,
            8,
            "background/png/background_0009.png",
            "background-png-0009",
        ),
        (
            ArtifactKind.FOREGROUND,
            ArtifactFormat.EXR,
            2,
            80,
            "foreground_2/exr/foreground_2_0081.exr",
            "foreground-2-exr-0081",
        ),
        (
            ArtifactKind.MATTE,
            ArtifactFormat.PNG,
            1,
            0,
            "matte_1/png/matte_1_0001.png",
            "matte-1-png-0001",
        ),
    ],
)
def test_paths_and_ids_of_a_take(
    kind: ArtifactKind,
    form: ArtifactFormat,
    layer: int,
    frame: int,
    path: str,
    artifact_id: str,
) -> None:
    assert take_path(kind, form, layer, frame) == path
    assert Artifact(path, kind, form, layer, frame, 0, "").id == artifact_id


def test_the_manifest_has_a_short_id() -> None:
    manifest = Artifact("manifest.json", ArtifactKind.MANIFEST, ArtifactFormat.JSON, -1, -1, 0, "")

    assert manifest.id == "manifest"


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
