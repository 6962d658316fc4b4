"""A backend's description and its models. Mirrors `layert2v/v1/system.proto`."""

from dataclasses import dataclass

from layert2v_words import Vocabulary


@dataclass(frozen=True)
class Model:
    """A model and its abilities."""

    id: str
    """The name for `Shot.model`."""
    description: str
    """One sentence about the model."""
    sizes: tuple[tuple[int, int], ...]
    """(width, height) in pixels. The first is the default."""
    num_frames: tuple[int, ...]
    """Lengths in frames. The first is the default."""
    max_foregrounds: int
    """Most foregrounds of a shot."""
    max_prompt_chars: int
    """Most characters of a prompt."""
    default_num_inference_steps: int
    """Number of steps if the shot leaves it 0."""
    default_guidance_scale: float
    """Guidance scale if the shot leaves it 0."""
    fps: float
    """Frames per second of its training footage."""
    vocabulary: Vocabulary | None = None
    """The words that it was taught. None if they are not known."""


@dataclass(frozen=True)
class ServerInfo:
    """A backend's description."""

    version: str
    """Version of the layert2v distribution."""
    api_version: str
    """`layert2v.v1`."""
    num_queued: int
    """Number of waiting jobs."""
    num_running: int
    """Number of running jobs."""
    free_bytes: int
    """Free bytes on the disk of the takes."""
    is_model_loaded: bool
    """Whether a worker holds a model, so that a job starts at once."""
