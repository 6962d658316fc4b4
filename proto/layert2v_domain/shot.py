"""A shot and its layers: what is asked of a backend, and what a job makes. Mirrors `shot.proto`."""

import hashlib
from dataclasses import dataclass
from enum import StrEnum

MAX_SEED = 2**63 - 1


class LayerRole(StrEnum):
    """Which job a layer does in its stack."""

    UNKNOWN = "unknown"
    """Not said, or the role of a newer version; no backend makes such a layer."""
    BACKGROUND = "background"
    FOREGROUND = "foreground"


@dataclass(frozen=True)
class KeptLayer:
    """A layer carried over, bit for bit, from the take of a finished job."""

    job: str
    """`jobs/{job}`; it must have succeeded."""
    layer_index: int
    """The layer's place in that job's stack; 0 is the background."""

    @property
    def job_id(self) -> str:
        """The job's name without `jobs/`."""
        return self.job.removeprefix("jobs/")


@dataclass(frozen=True)
class LayerSpec:
    """One layer of a shot."""

    role: LayerRole
    """Background or foreground."""
    prompt: str
    """What this layer shows; may be empty for a kept layer."""
    seed: int | None = None
    """Seed of the layer's initial noise, 0 to `MAX_SEED`; None: derived from the shot's seed."""
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
    """Model id as `ListModels` gives it; empty: the backend's default."""
    width: int = 0
    """Pixels."""
    height: int = 0
    """Pixels."""
    num_frames: int = 0
    """Frames."""
    seed: int = 0
    """Seed of the shot, 0 to `MAX_SEED`. Equal shots with equal seeds give equal takes."""
    num_inference_steps: int = 0
    """Denoising steps."""
    guidance_scale: float = 0.0
    """Classifier-free guidance; 1 is off."""
    skip_finishing: bool = False
    """Leave the layers as generated."""

    @property
    def is_filled(self) -> bool:
        """Whether nothing is left to the model's defaults, as in the shot of a job."""
        format_fields = (self.width, self.height, self.num_frames)
        sampling_fields = (self.num_inference_steps, self.guidance_scale)
        has_seeds = all(layer.seed is not None for layer in self.layers)
        return has_seeds and all((self.model, *format_fields, *sampling_fields))

    def seed_of(self, layer_index: int) -> int:
        """Give a layer's own seed; failing that, the one derived from the shot's."""
        seed = self.layers[layer_index].seed
        return derive_seed(self.seed, layer_index) if seed is None else seed


def derive_seed(shot_seed: int, layer_index: int) -> int:
    """Derive the seed of a layer that has none: in [0, 2**63), equal on every machine and version.

    The first 63 bits of the SHA-256 of `<shot seed>/layer_<index>`.
    """
    digest = hashlib.sha256(f"{shot_seed}/layer_{layer_index}".encode()).digest()
    return int.from_bytes(digest[:8], "big") >> 1
