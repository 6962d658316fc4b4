import pytest

from layert2v_backend.jobs import Artifact, take_path
from layert2v_domain.artifact import ArtifactFormat, ArtifactKind


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
