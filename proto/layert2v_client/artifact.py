"""A file of a take, as the client sees it. Mirrors `layert2v/v1/artifact.proto`."""

from dataclasses import dataclass

from layert2v_domain.artifact import ArtifactFormat, ArtifactKind


@dataclass(frozen=True)
class Artifact:
    """One stored file, known by its SHA-256."""

    name: str
    """`jobs/{job}/artifacts/{artifact}`."""
    kind: ArtifactKind
    """The picture or data that it holds."""
    format: ArtifactFormat
    """Its file format. PNG is straight sRGB. EXR is premultiplied, scene-linear Rec. 709."""
    layer_index: int
    """The layer's place in the stack, where 0 is the background. -1 for full and manifest."""
    frame_index: int
    """Number of the frame, from 0. -1 if the file is not a frame."""
    path: str
    """Path of the file in a take's folder, with `/`."""
    size_bytes: int
    """Length in bytes."""
    sha256: str
    """SHA-256 of the content as 64 lower-case hexadecimal digits."""
