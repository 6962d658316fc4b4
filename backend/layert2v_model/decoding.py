"""Latents of a take's streams to pixels, with progress, stoppable between chunks.

Shape letters: B streams decoded together, C channels, T frames, H, W.
"""

from collections.abc import Callable, Mapping

import torch
from diffusers import AutoencoderKLWan
from torch import Tensor

from layert2v_model import codec
from layert2v_model.alpha_vae import rgb_to_alpha

OnProgress = Callable[[str, int, int], None]
"""Called with the stage (encoding, denoising, decoding), steps done and steps in all; it may raise
to stop."""

PIXELS_PER_DECODE = 512 * 512
"""Pixels of one frame, over all streams decoded together; what a small GPU holds at Wan's width."""


def decode_streams(
    vae: AutoencoderKLWan,
    alpha_vae: AutoencoderKLWan,
    latents: Mapping[str, Tensor],
    report: OnProgress,
) -> dict[str, Tensor]:
    """Decode streams, several at once where they are small.

    Args:
        vae: Decodes the colour streams.
        alpha_vae: Decodes the alpha streams.
        latents: Normalised latents (1, C, T, H, W) by stream name.
        report: Called between chunks as stage `decoding`.

    Returns:
        Pixels in [0, 1] as the network made them (not made straight), float32 on the CPU:
        (T, 3, H, W), or (T, 1, H, W) for an alpha.
    """
    batches = _batches(vae, latents)
    num_steps = sum(codec.num_decode_steps(vae, latents[names[0]]) for names in batches)
    step = 0
    report("decoding", step, num_steps)
    decoded: dict[str, Tensor] = {}
    for names in batches:
        is_alpha = names[0].startswith("alpha_")
        latents_BCTHW = torch.cat([latents[name] for name in names])
        chunks = []
        for raw in codec.decode_chunks(alpha_vae if is_alpha else vae, latents_BCTHW):
            chunks.append(rgb_to_alpha(raw) if is_alpha else codec.to_unit(raw))
            step += 1
            report("decoding", step, num_steps)
        frames_BTCHW = torch.cat(chunks, dim=2).transpose(1, 2).cpu()
        decoded |= dict(zip(names, frames_BTCHW, strict=True))
    return decoded


def _batches(vae: AutoencoderKLWan, latents: Mapping[str, Tensor]) -> list[tuple[str, ...]]:
    """Group streams that share a decoder, as many at once as memory allows."""
    *_, height, width = next(iter(latents.values())).shape
    size = max(1, PIXELS_PER_DECODE // (height * width * codec.spatial_factor(vae) ** 2))
    alphas = [name for name in latents if name.startswith("alpha_")]
    colours = [name for name in latents if name not in alphas]
    return [
        tuple(group[start : start + size])
        for group in (colours, alphas)
        for start in range(0, len(group), size)
    ]
