"""Guidance: how far each stream is driven from what the model makes without words or givens.

Shape letters: B batch, S streams, C channels, T latent frames, H, W.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor

from layert2v_model.errors import InvalidShot


@dataclass(frozen=True)
class Guidance:
    """Scales of a shot; 1 is off. Each kind that is on adds one shot to every step's batch."""

    scale: float
    """Guidance on the prompts, for streams not named in `layers`."""
    layers: Mapping[str, float] = field(default_factory=dict)
    """Guidance on the prompts per stream. A foreground's is its alpha's too, unless named."""
    given: float = 1.0
    """Guidance on what is given: away from the same shot with the givens hidden by noise."""

    def of(self, name: str) -> float:
        """Say the scale on the prompts of one stream."""
        own = self.layers.get(name.replace("alpha_", "foreground_"), self.scale)
        return self.layers.get(name, own)

    def by_stream(self, names: Sequence[str], device: torch.device) -> "StreamGuidance":
        """Lay the scales out for the streams of a shot."""
        scales = [self.of(name) for name in names]
        is_on = any(scale != 1 for scale in scales)
        scale_BSCTHW = torch.tensor(scales, dtype=torch.float32, device=device)
        scale_BSCTHW = scale_BSCTHW.view(1, -1, 1, 1, 1, 1)
        return StreamGuidance(scale_BSCTHW if is_on else None, self.given)


@dataclass(frozen=True, eq=False)
class StreamGuidance:
    """Scales laid out for arithmetic; order of a batch: wanted, negative, givens hidden."""

    scale_BSCTHW: Tensor | None
    """On the prompts, per stream; None: off, and there is no entry of the negative prompt."""
    given: float
    """On what is given; 1: off, and there is no entry with givens hidden."""

    @property
    def has_negative(self) -> bool:
        """Whether the batch has an entry that reads the negative prompt."""
        return self.scale_BSCTHW is not None

    @property
    def hides_given(self) -> bool:
        """Whether the batch has an entry that does not see what is given."""
        return self.given != 1

    def combine(self, velocity_BSCTHW: Tensor) -> Tensor:
        """Make one velocity of the batch's.

        Source:
            Ho and Salimans, "Classifier-Free Diffusion Guidance", 2022, equation 6, once for each
            of two conditions: both differences start from the entry that has both.
        """
        wanted, *others = velocity_BSCTHW.split(1)
        guided = wanted
        if self.scale_BSCTHW is not None:
            guided = others[0] + self.scale_BSCTHW * (wanted - others[0])
        if self.hides_given:
            guided = guided + (self.given - 1) * (wanted - others[-1])
        return guided


def check_guidance(guidance: Guidance, names: Sequence[str], *, is_distilled: bool) -> None:
    """Check scales and their names.

    Raises:
        InvalidShot: Names the scale, the limit and the remedy.
    """
    for name in guidance.layers:
        if name not in names:
            raise InvalidShot(
                f"guidance is given for {name}, which is not a stream of this shot; use "
                f"{', '.join(names)}"
            )
    scales = {"guidance": guidance.scale, "guidance of given layers": guidance.given}
    scales |= {f"guidance of {name}": scale for name, scale in guidance.layers.items()}
    for what, scale in scales.items():
        if not 1 <= scale < math.inf:
            raise InvalidShot(f"{what} {scale} is out of range; use 1 (off) or more, such as 3")
        if is_distilled and scale != 1:
            raise InvalidShot(
                f"{what} is {scale:g}, but a distilled model runs without guidance; use 1"
            )


def check_hidden(guidance: Guidance, *, is_held: bool) -> None:
    """Check that guidance on what is given has something to hide.

    Raises:
        InvalidShot: Nothing sits at t = 0.
    """
    if guidance.given != 1 and not is_held:
        raise InvalidShot(
            f"guidance of given layers is {guidance.given:g}, but no whole frame of tokens is "
            f"given that this model could do without; use 1"
        )
