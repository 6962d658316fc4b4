"""What a backend is and which models it serves. Mirrors `layert2v/v1/system.proto`."""

from dataclasses import dataclass

from layert2v_words import Vocabulary


@dataclass(frozen=True)
class Model:
    """A model and what it can do."""

    id: str
    """What `Shot.model` names."""
    description: str
    """One sentence."""
    sizes: tuple[tuple[int, int], ...]
    """(width, height) in pixels; the first is the default."""
    num_frames: tuple[int, ...]
    """Lengths in frames; the first is the default."""
    max_foregrounds: int
    """Most foregrounds of a shot."""
    max_prompt_chars: int
    """Most characters of a prompt."""
    default_num_inference_steps: int
    """Steps when the shot leaves them 0."""
    default_guidance_scale: float
    """Guidance when the shot leaves it 0."""
    fps: float
    """Frames per second the model was trained at."""
    vocabulary: Vocabulary | None = None
    """What it was taught to draw; None: nobody can say which words it knows."""


@dataclass(frozen=True)
class ServerInfo:
    """What a backend is."""

    version: str
    """Version of the layert2v distribution."""
    api_version: str
    """`layert2v.v1`."""
    num_queued: int
    """Jobs waiting."""
    num_running: int
    """Jobs a worker has."""
    free_bytes: int
    """Free bytes where takes are stored."""
    is_model_loaded: bool
    """Whether a worker holds a model, so that a job starts at once."""
