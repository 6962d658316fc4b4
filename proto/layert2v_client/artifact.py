"""A file of a take, as the client sees it. Mirrors `layert2v/v1/artifact.proto`."""

from dataclasses import dataclass

from layert2v_domain.artifact import ArtifactFormat, ArtifactKind


@dataclass(frozen=True)
class Artifact:
    """One stored file, known by its SHA-256."""

    name: str
    """`jobs/{job}/artifacts/{artifact}`."""
    kind: ArtifactKind
    """What it shows."""
    format: ArtifactFormat
    """How it is stored. PNG: straight, sRGB; EXR: premultiplied, scene-linear Rec. 709."""
    layer_index: int
    """The layer's place in the stack, 0 the background; -1 for full and manifest."""
    frame_index: int
    """Frame, from 0; -1 where the file is not a frame."""
    path: str
    """Where the file belongs in a take's folder, with `/`."""
    size_bytes: int
    """Length in bytes."""
    sha256: str
    """SHA-256 of the content, 64 lower-case hexadecimal digits."""
