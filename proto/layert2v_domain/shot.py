"""A shot and its layers, which a job turns into a take. Mirrors `shot.proto`."""

import hashlib
from dataclasses import dataclass
from enum import StrEnum

MAX_SEED = 2**63 - 1


class LayerRole(StrEnum):
    """The role of a layer in its stack."""

    UNKNOWN = "unknown"
    """No role, or the role of a newer version. No backend makes such a layer."""
    BACKGROUND = "background"
    FOREGROUND = "foreground"


@dataclass(frozen=True)
class KeptLayer:
    """A layer that is copied, bit for bit, from the take of a finished job."""

    job: str
    """The source job's name, `jobs/{job}`. It must have succeeded."""
    layer_index: int
    """The layer's place in that job's stack, where 0 is the background."""

    @property
    def job_id(self) -> str:
        """Give the job's name without `jobs/`."""
        return self.job.removeprefix("jobs/")


@dataclass(frozen=True)
class LayerSpec:
    """One layer of a shot."""

    role: LayerRole
    """Background or foreground."""
    prompt: str
    """Description of this layer. It may be empty for a kept layer."""
    seed: int | None = None
    """Seed of the layer's initial noise, 0 to `MAX_SEED`. None derives it from the shot's seed."""
    kept: KeptLayer | None = None
    """Source of the layer if it is kept. None if it is generated."""


@dataclass(frozen=True)
class Shot:
    """A request for a take. Fields left at zero take the model's defaults."""

    layers: tuple[LayerSpec, ...]
    """Layers, back to front: the background, then the foregrounds."""
    prompt: str = ""
    """Prompt of the full picture. If empty, it is composed from the layers' prompts."""
    negative_prompt: str = ""
    """Description of things to avoid, for every stream."""
    model: str = ""
    """Model id from `ListModels`. Empty means the backend's default."""
    width: int = 0
    """Pixels."""
    height: int = 0
    """Pixels."""
    num_frames: int = 0
    """Frames."""
    seed: int = 0
    """Seed of the shot, 0 to `MAX_SEED`. Equal shots with equal seeds give equal takes."""
    num_inference_steps: int = 0
    """Number of denoising steps."""
    guidance_scale: float = 0.0
    """Scale of classifier-free guidance. 1 is off."""
    skip_finishing: bool = False
    """Whether the layers stay as generated."""

    @property
    def is_filled(self) -> bool:
        """Say whether every field is set, as in the shot of a job."""
        format_fields = (self.width, self.height, self.num_frames)
        sampling_fields = (self.num_inference_steps, self.guidance_scale)
        has_seeds = all(layer.seed is not None for layer in self.layers)
        return has_seeds and all((self.model, *format_fields, *sampling_fields))

    def seed_of(self, layer_index: int) -> int:
        """Give a layer's own seed, or else the seed derived from the shot's."""
        seed = self.layers[layer_index].seed
        return derive_seed(self.seed, layer_index) if seed is None else seed


def derive_seed(shot_seed: int, layer_index: int) -> int:
    """Derive the seed of a layer without one, in [0, 2**63), equal on every machine and version.

    It is the first 63 bits of the SHA-256 of `<shot seed>/layer_<index>`.
    """
    digest = hashlib.sha256(f"{shot_seed}/layer_{layer_index}".encode()).digest()
    return int.from_bytes(digest[:8], "big") >> 1
