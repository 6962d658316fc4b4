"""Kinds and formats of a take's files. Mirrors `artifact.proto`."""

from enum import StrEnum


class ArtifactKind(StrEnum):
    """The picture or data that an artifact holds."""

    FULL = "full"
    BACKGROUND = "background"
    FOREGROUND = "foreground"
    MATTE = "matte"
    MANIFEST = "manifest"
    LATENTS = "latents"


class ArtifactFormat(StrEnum):
    """The file format of an artifact."""

    EXR = "exr"
    PNG = "png"
    JSON = "json"
    SAFETENSORS = "safetensors"
