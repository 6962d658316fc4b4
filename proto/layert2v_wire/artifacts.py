"""Converts kinds and formats of files to protobuf and back."""

from layert2v.v1 import artifact_pb2
from layert2v_domain.artifact import ArtifactFormat, ArtifactKind


def kind_to_proto(kind: ArtifactKind) -> artifact_pb2.ArtifactKind.ValueType:
    """Write a kind for the wire."""
    return artifact_pb2.ArtifactKind.Value(f"ARTIFACT_KIND_{kind.name}")


def kind_from_proto(number: artifact_pb2.ArtifactKind.ValueType) -> ArtifactKind:
    """Read a kind from the wire.

    Raises:
        ValueError: No known version has it.
    """
    name = artifact_pb2.ArtifactKind.Name(number)
    return ArtifactKind(name.removeprefix("ARTIFACT_KIND_").lower())


def format_to_proto(form: ArtifactFormat) -> artifact_pb2.ArtifactFormat.ValueType:
    """Write a format for the wire."""
    return artifact_pb2.ArtifactFormat.Value(f"ARTIFACT_FORMAT_{form.name}")


def format_from_proto(number: artifact_pb2.ArtifactFormat.ValueType) -> ArtifactFormat:
    """Read a format from the wire.

    Raises:
        ValueError: No known version has it.
    """
    name = artifact_pb2.ArtifactFormat.Name(number)
    return ArtifactFormat(name.removeprefix("ARTIFACT_FORMAT_").lower())
