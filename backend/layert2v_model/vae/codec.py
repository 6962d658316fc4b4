"""Pixels to normalised latents and back, through any `AutoencoderKLWan`.

Shape letters: B batch, C channels, T frames (pixels or latents), H, W. Pixels are display-referred
sRGB in [0, 1]. Every stream is coded on its own: the causal cache never crosses streams.
"""

import math
from collections.abc import Iterator

import torch
from diffusers import AutoencoderKLWan
from diffusers.models.autoencoders.autoencoder_kl_wan import unpatchify
from torch import Tensor

FRAMES_PER_CHUNK = 4
"""Frames the Wan encoder takes at a time after the first.

Source: diffusers 0.42, `AutoencoderKLWan._encode`.
"""


def temporal_factor(vae: AutoencoderKLWan) -> int:
    """Count the frames that one latent frame after the first stands for."""
    return 2 ** sum(bool(halves) for halves in vae.config.temperal_downsample)


def spatial_factor(vae: AutoencoderKLWan) -> int:
    """Count the pixels along one side of a latent pixel."""
    return 2 ** (len(vae.config.dim_mult) - 1) * (vae.config.patch_size or 1)


def frame_step(vae: AutoencoderKLWan) -> int:
    """Say by how many frames videos grow beyond the first: 4, or 1 where time is not resampled."""
    return FRAMES_PER_CHUNK if temporal_factor(vae) > 1 else 1


def num_latent_frames(vae: AutoencoderKLWan, num_frames: int) -> int:
    """Count latent frames of a video of 1 + k `frame_step` frames."""
    return 1 + (num_frames - 1) // temporal_factor(vae)


def num_decode_steps(vae: AutoencoderKLWan, latents_BCTHW: Tensor) -> int:
    """Count the chunks that `decode_chunks` will yield."""
    return math.ceil(latents_BCTHW.shape[2] / _latents_per_chunk(vae))


def _latents_per_chunk(vae: AutoencoderKLWan) -> int:
    # Upsampling in time treats the first latent frame by itself. Without it any chunk is exact,
    # and few large ones are four times as fast on a CPU as frames one by one.
    return FRAMES_PER_CHUNK if temporal_factor(vae) == 1 else 1


def encode(vae: AutoencoderKLWan, pixels_BCTHW: Tensor) -> Tensor:
    """Encode pixels to the mean of the posterior, normalised by the VAE's config.

    Args:
        vae: Any.
        pixels_BCTHW: Display-referred sRGB in [0, 1], three channels; T is 1 + k `frame_step`.

    Returns:
        Latents (B, z_dim, `num_latent_frames`, H, W) over the VAE's factors, in its precision.
    """
    # The library drops what follows the last whole chunk. Convolutions are causal, so frames added
    # after the end change no latent before it.
    num_frames = pixels_BCTHW.shape[2]
    added = -(num_frames - 1) % FRAMES_PER_CHUNK
    padding = pixels_BCTHW[:, :, -1:].expand(-1, -1, added, -1, -1)
    padded = torch.cat([pixels_BCTHW, padding], dim=2) if added else pixels_BCTHW
    posterior = vae.encode((2 * padded - 1).to(vae.dtype)).latent_dist
    latents = normalise(vae, posterior.mode())
    return latents[:, :, : num_latent_frames(vae, num_frames)]


def normalise(vae: AutoencoderKLWan, latents_BCTHW: Tensor) -> Tensor:
    """Bring raw latents to zero mean and unit deviation per channel."""
    mean, std = _statistics(vae, latents_BCTHW)
    return (latents_BCTHW - mean) / std


def denormalise(vae: AutoencoderKLWan, latents_BCTHW: Tensor) -> Tensor:
    """Undo `normalise`."""
    mean, std = _statistics(vae, latents_BCTHW)
    return latents_BCTHW * std + mean


def _statistics(vae: AutoencoderKLWan, like: Tensor) -> tuple[Tensor, Tensor]:
    shape = (1, -1, 1, 1, 1)
    mean = torch.tensor(vae.config.latents_mean, device=like.device, dtype=like.dtype)
    std = torch.tensor(vae.config.latents_std, device=like.device, dtype=like.dtype)
    return mean.view(shape), std.view(shape)


def decode_chunks(vae: AutoencoderKLWan, latents_BCTHW: Tensor) -> Iterator[Tensor]:
    """Decode normalised latents a few frames at a time.

    The caller may stop between chunks. Nothing is left behind in the VAE. Gradients flow.

    Yields:
        Decoder outputs (B, 3, T of the chunk, H, W) around [-1, 1], **not clamped**.

    Source:
        The frame loop of diffusers' `AutoencoderKLWan._decode`, which offers no stop.
    """
    _onto_device(vae)
    # A cache of its own per call, not the VAE's: several decodings may take turns.
    cache: list[object] = [None] * vae._cached_conv_counts["decoder"]
    raw_BCTHW = vae.post_quant_conv(denormalise(vae, latents_BCTHW).to(vae.dtype))
    for index, part_BCTHW in enumerate(raw_BCTHW.split(_latents_per_chunk(vae), dim=2)):
        chunk = vae.decoder(part_BCTHW, feat_cache=cache, feat_idx=[0], first_chunk=index == 0)
        yield unpatchify(chunk, vae.config.patch_size or 1)


def _onto_device(vae: AutoencoderKLWan) -> None:
    """Do as the library's own methods do before they use an offloaded model."""
    hook = getattr(vae, "_hf_hook", None)
    if hook is not None:
        hook.pre_forward(vae)


def can_tile(vae: AutoencoderKLWan) -> bool:
    """Whether `decode_tiled` can decode: the library's tiles need levels, and no patches."""
    return len(vae.config.dim_mult) > 1 and not vae.config.patch_size


def decode_tiled(vae: AutoencoderKLWan, latents_BCTHW: Tensor) -> Tensor:
    """Decode normalised latents in overlapping tiles: approximate, for frames larger than memory.

    Args:
        vae: One that `can_tile`.
        latents_BCTHW: Smaller pictures than a tile are decoded whole.

    Returns:
        Decoder output (B, 3, T, H, W), clamped to [-1, 1].
    """
    was_tiling = vae.use_tiling
    vae.enable_tiling()
    try:
        sample: Tensor = vae.decode(denormalise(vae, latents_BCTHW).to(vae.dtype)).sample
    finally:
        vae.use_tiling = was_tiling
    return sample


def decode_raw(vae: AutoencoderKLWan, latents_BCTHW: Tensor) -> Tensor:
    """Decode normalised latents to (B, 3, T, H, W) around [-1, 1], not clamped."""
    return torch.cat(list(decode_chunks(vae, latents_BCTHW)), dim=2)


def decode(vae: AutoencoderKLWan, latents_BCTHW: Tensor) -> Tensor:
    """Decode normalised latents to pixels in [0, 1], float32, (B, 3, T, H, W)."""
    return to_unit(decode_raw(vae, latents_BCTHW))


def to_unit(raw: Tensor) -> Tensor:
    """Map decoder output in [-1, 1] to [0, 1], float32, clipped."""
    return ((raw.float() + 1) / 2).clamp(0, 1)
