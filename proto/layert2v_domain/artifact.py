"""What the files of a take are. Mirrors `artifact.proto`."""

from enum import StrEnum


class ArtifactKind(StrEnum):
    """What an artifact shows."""

    FULL = "full"
    BACKGROUND = "background"
    FOREGROUND = "foreground"
    MATTE = "matte"
    MANIFEST = "manifest"
    LATENTS = "latents"


class ArtifactFormat(StrEnum):
    """How an artifact is stored."""

    EXR = "exr"
    PNG = "png"
    JSON = "json"
    SAFETENSORS = "safetensors"
