"""Noise levels of flow matching: t in [0, 1], 1 is noise and 0 the picture.

Shape letters: B batch, S streams, T latent frames.
"""

from dataclasses import dataclass

import torch
from torch import Tensor

from layert2v_model.streams import Stream, StreamRole


@dataclass(frozen=True)
class NoiseMixture:
    """Shares of the ways to draw noise levels; they add up to 1 with `independent`."""

    shift: float = 3.0
    """Shift of the sampler's schedule; training draws from the same: t -> s t / (1 + (s - 1) t)."""
    synchronous: float = 1.0
    """All streams at one level, as released."""
    given_layers: float = 0.0
    """A random set of whole layers given (level 0), the rest at one level."""


def draw_levels(batch_size: int, shift: float) -> Tensor:
    """Draw t (B,) logit-normal, then shift it as the sampler's schedule is shifted.

    Source:
        Esser et al., "Scaling Rectified Flow Transformers", 2024, logit-normal sampling and
        equation 23 for the shift.
    """
    t = torch.sigmoid(torch.randn(batch_size))
    return shift * t / (1 + (shift - 1) * t)


def draw_timesteps(
    batch_size: int, layout: tuple[Stream, ...], num_frames: int, mixture: NoiseMixture
) -> tuple[Tensor, Tensor]:
    """Draw a noise level for every stream and latent frame.

    Returns:
        t (B, S, T) in [0, 1] and a boolean (B, S) that is true for given streams.
    """
    streams = len(layout)
    t_BST = draw_levels(batch_size, mixture.shift)[:, None, None].repeat(1, streams, num_frames)
    given_BS = torch.zeros(batch_size, streams, dtype=torch.bool)
    for b in range(batch_size):
        kind = float(torch.rand(()))
        if kind < mixture.synchronous:
            continue
        if kind < mixture.synchronous + mixture.given_layers:
            given_BS[b] = draw_given(layout)
        else:
            levels = draw_levels(streams, mixture.shift)
            t_BST[b] = _same_per_layer(levels, layout)[:, None]
    t_BST[given_BS] = 0.0
    return t_BST, given_BS


def draw_given(layout: tuple[Stream, ...]) -> Tensor:
    """Choose layers to give, not all: a boolean (S,); a foreground comes with its alpha.

    The full video is given alone (decomposition) in a fifth of the cases; otherwise background
    and foregrounds are given each with probability one half.
    """
    num_layers = len(layout) // 2
    if float(torch.rand(())) < 0.2:
        return torch.tensor([stream.role is StreamRole.FULL for stream in layout])
    while True:
        layers = torch.rand(num_layers) < 0.5
        if layers.any() and not layers.all():
            break
    chosen = [stream.role is not StreamRole.FULL and bool(layers[stream.foreground])
              for stream in layout]  # fmt: skip
    return torch.tensor(chosen)


def _same_per_layer(levels_S: Tensor, layout: tuple[Stream, ...]) -> Tensor:
    """Give a foreground and its alpha the same level."""
    number = [0 if s.role is StreamRole.FULL else 1 + s.foreground for s in layout]
    return levels_S[torch.tensor(number)]
