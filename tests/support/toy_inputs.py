"""Inputs of the toy transformer."""

import torch
from torch import Tensor


def toy_inputs(
    num_streams: int, num_frames: int = 1, height: int = 4, width: int = 6, batch_size: int = 1
) -> tuple[Tensor, Tensor, Tensor]:
    """Draw latents (B, S, 4, T, H, W), a timestep per stream (B, S, 1) and text (B, S, 5, 16)."""
    generator = torch.Generator().manual_seed(num_streams)
    shape = (batch_size, num_streams, 4, num_frames, height, width)
    latents = torch.randn(shape, generator=generator)
    timestep = torch.linspace(0, 900, num_streams).expand(batch_size, -1)[..., None]
    text = torch.randn((batch_size, num_streams, 5, 16), generator=generator)
    return latents, timestep, text
