"""A shot as the model takes it: the prompts of its layers, and its format. No torch.

The front door reads formats before a worker exists, so nothing heavy is imported here.
"""

from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class ShotPrompts:
    """The words of a shot, one prompt per picture and layer."""

    full: str
    """The whole picture; blank: composed from the layers' prompts."""
    background: str
    """The plate behind everything."""
    foregrounds: tuple[str, ...]
    """One per foreground, back to front."""
    negative: str = ""
    """What all streams should not show; used when guidance is above 1."""

    def by_name(self) -> dict[str, str]:
        """Name the prompts as `streams.prompt_names` does, the full one filled in."""
        numbered = enumerate(self.foregrounds, start=1)
        layers = {f"foreground_{number}": prompt for number, prompt in numbered}
        full = self.full if self.full.strip() else self._composed()
        return {"full": full, "background": self.background, **layers}

    def _composed(self) -> str:
        spoken = [prompt for prompt in self.foregrounds if prompt.strip()]
        if not spoken or not self.background.strip():
            return ", ".join([*spoken, *([self.background] if self.background.strip() else [])])
        return compose_full_prompt(self.background, spoken)


def compose_full_prompt(background: str, foregrounds: Sequence[str]) -> str:
    """Say the whole picture from the layers' prompts, for a shot without a full prompt.

    Training captions are composed by the same words: "a fox and a ball, in front of a beach".
    """
    subjects = [_phrase(prompt) for prompt in foregrounds]
    listed = ", ".join(subjects[:-1])
    subject = f"{listed} and {subjects[-1]}" if listed else subjects[-1]
    return f"{subject}, in front of {_phrase(background)}"


def _phrase(prompt: str) -> str:
    return " ".join(prompt.split()).rstrip(".,;")


@dataclass(frozen=True)
class ShotFormat:
    """The pixels, layers and steps of a shot: what decides whether it can be made, and its cost."""

    width: int
    """Pixels."""
    height: int
    """Pixels."""
    num_frames: int
    """4 k + 1 (any number where the VAE does not resample time), such that latents fill patches."""
    num_foregrounds: int
    """From 1."""
    num_inference_steps: int
    """Steps of denoising, from 1."""
    guidance_scale: float = 1.0
    """On the prompts; above 1 everything is computed for two prompts."""

    @property
    def num_streams(self) -> int:
        """Streams of the joint sequence, S."""
        return 2 + 2 * self.num_foregrounds

    @property
    def batch_size(self) -> int:
        """Prompts computed together."""
        return 2 if self.guidance_scale > 1 else 1
