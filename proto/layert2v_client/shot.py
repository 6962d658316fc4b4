"""A shot and its layers, as asked of a backend. Mirrors `layert2v/v1/shot.proto`."""

from dataclasses import dataclass
from enum import StrEnum


class LayerRole(StrEnum):
    """Which job a layer does in its stack."""

    BACKGROUND = "background"
    FOREGROUND = "foreground"


@dataclass(frozen=True)
class KeptLayer:
    """A layer carried over, bit for bit, from the take of a finished job."""

    job: str
    """`jobs/{job}`; it must have succeeded."""
    layer_index: int
    """The layer's place in that job's stack; 0 is the background."""


@dataclass(frozen=True)
class LayerSpec:
    """One layer of a shot, as asked for."""

    role: LayerRole
    """Background or foreground."""
    prompt: str
    """What this layer shows; may be empty for a kept layer."""
    seed: int | None = None
    """Seed of the layer's initial noise, 0 to 2^63 - 1; None: derived from the shot's seed."""
    kept: KeptLayer | None = None
    """Where the layer comes from when it is not to be generated."""


@dataclass(frozen=True)
class Shot:
    """What is to be made. Fields left at zero take the model's defaults."""

    layers: tuple[LayerSpec, ...]
    """Back to front: the background, then the foregrounds."""
    prompt: str = ""
    """The full picture; empty: composed from the layers' prompts."""
    negative_prompt: str = ""
    """What to avoid, in every stream."""
    model: str = ""
    """Model id as `Client.list_models` gives it; empty: the backend's default."""
    width: int = 0
    """Pixels."""
    height: int = 0
    """Pixels."""
    num_frames: int = 0
    """Frames."""
    seed: int = 0
    """Seed of the shot, 0 to 2^63 - 1. Equal shots with equal seeds give equal takes."""
    num_inference_steps: int = 0
    """Denoising steps."""
    guidance_scale: float = 0.0
    """Classifier-free guidance; 1 is off."""
    skip_finishing: bool = False
    """Leave the layers as generated."""
