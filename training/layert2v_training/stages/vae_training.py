"""Train the small VAE of `tiny`: the encoder in closed form, the decoder by gradient descent.

    layert2v-train vae --assets cache/assets --out runs/tiny

Runs on a laptop in about half an hour and resumes where it was stopped. Writes `OUT/vae`.
"""

import logging
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from accelerate import PartialState
from diffusers import AutoencoderKLWan
from diffusers.models.autoencoders.autoencoder_kl_wan import unpatchify
from einops import rearrange
from numpy.typing import NDArray
from torch import Tensor, nn

from layert2v_training.cache.placement import home_of
from layert2v_training.cache.workers import make_in_workers
from layert2v_training.codecs.linear_vae import (
    LinearVaeSize,
    encode_linear,
    make_vae,
    set_linear,
)
from layert2v_training.codecs.pca_codec import fit_pca
from layert2v_training.data.clips import LayeredClip
from layert2v_training.learning.loop import Losses, train
from layert2v_training.learning.optimizers import LoopRecipe
from layert2v_training.scenes.composing import SceneSource
from layert2v_training.scenes.scene_recipe import SceneRecipe

log = logging.getLogger(__name__)

FITTED_CLIPS = 200
"""Clips whose principal components begin the encoder."""
HELD_OUT_CLIPS = 16
"""Clips that are measured and not learned."""
ENCODED_AT_ONCE = 64
"""Videos."""
DECODED_AT_ONCE = 8
"""Videos, when they are measured."""

STREAMS = ("full", "background", "foreground", "alpha")


def streams_of_clip(clip: LayeredClip) -> NDArray[np.uint8]:
    """Stack what a VAE sees of a clip's last foreground: uint8 (4, 3, T, H, W).

    Full, background, foreground premultiplied on black, alpha as three channels.
    """
    front = clip.foregrounds[-1]
    alpha_THWC = front.alpha_THW[..., None]
    videos = [
        clip.full_THWC,
        clip.background_THWC,
        front.rgb_THWC * alpha_THWC,
        np.repeat(alpha_THWC, 3, -1),
    ]
    stacked = np.stack([rearrange(video, "t h w c -> c t h w") for video in videos])
    return (stacked * 255 + 0.5).astype(np.uint8)


@dataclass(frozen=True)
class _Composer:
    source: SceneSource

    def __call__(self, index: int) -> NDArray[np.uint8]:
        return streams_of_clip(self.source.clip(index))


def compose_streams(source: SceneSource, count: int, num_workers: int = 0) -> Tensor:
    """Compose `count` clips: uint8 (count, 4, 3, T, H, W)."""
    pixels: Tensor | None = None
    clips = make_in_workers(_Composer(source), range(count), num_workers)
    for index, clip in enumerate(clips):
        if pixels is None:
            pixels = torch.empty((count, *clip.shape), dtype=torch.uint8)
        pixels[index] = torch.from_numpy(clip)
    assert pixels is not None
    return pixels


def signed(pixels: Tensor) -> Tensor:
    """Map bytes to [-1, 1]."""
    return pixels.float() / 127.5 - 1


def psnr_per_stream(decoded_NSCTHW: Tensor, truth_NSCTHW: Tensor) -> dict[str, float]:
    """Mean PSNR in dB per stream; inputs in [-1, 1], peak 1 after mapping to [0, 1]."""
    error_NS = ((decoded_NSCTHW.clamp(-1, 1) - truth_NSCTHW) / 2).square().flatten(2).mean(2)
    values = (-10 * error_NS.log10()).mean(0)
    return {name: float(value) for name, value in zip(STREAMS, values, strict=True)}


def pca_floor(train_BCTHW: Tensor, held_out_NSCTHW: Tensor, z_dim: int) -> dict[str, float]:
    """PSNR per stream of the linear codec of the same rate, on held-out clips."""
    linear = fit_pca(train_BCTHW, (1, 8, 8), z_dim)
    decoded = linear.reconstruct(held_out_NSCTHW.flatten(0, 1))
    return psnr_per_stream(decoded.unflatten(0, held_out_NSCTHW.shape[:2]), held_out_NSCTHW)


class Decoder(nn.Module):
    """The part of a VAE that learns, its parameters named as in the VAE."""

    def __init__(self, vae: AutoencoderKLWan) -> None:
        super().__init__()
        self.post_quant_conv, self.decoder = vae.post_quant_conv, vae.decoder
        self._patch_size = vae.config.patch_size

    def forward(self, latents_BCTHW: Tensor) -> Tensor:
        """Decode all frames at once: around [-1, 1], not clamped.

        Equal to decoding frame by frame with the causal cache where nothing resamples time.
        """
        return unpatchify(self.decoder(self.post_quant_conv(latents_BCTHW)), self._patch_size)


class DecoderLoss:
    """Reconstruction losses of decoded latents, with batches drawn from encoded clips."""

    def __init__(self, latents_MCTHW: Tensor, pixels_MCTHW: Tensor, batch_size: int) -> None:
        self.batch_size = batch_size
        self.latents_MCTHW, self.pixels_MCTHW = latents_MCTHW, pixels_MCTHW

    def __call__(self, decoder: nn.Module, step: int) -> Losses:
        """Decode a random batch. Latents get a little noise, as sampled ones will have."""
        store, device = self.latents_MCTHW.device, next(decoder.parameters()).device
        chosen = torch.randint(len(self.latents_MCTHW), (self.batch_size,)).to(store)
        latents = self.latents_MCTHW[chosen].to(device, torch.float32)
        target = signed(self.pixels_MCTHW[chosen]).to(device)
        latents = latents + 0.05 * torch.randn_like(latents)
        return reconstruction_losses(decoder(latents).float() - target)


def reconstruction_losses(error: Tensor) -> Losses:
    """Measure an error (..., H, W) of pixels in [-1, 1]: itself, and its steps between pixels."""
    return {
        "l1": error.abs().mean(),
        "l2": 2.0 * error.square().mean(),
        "edges": 0.5 * (_edges(error[..., 1:, :], error[..., :-1, :])
                        + _edges(error[..., 1:], error[..., :-1])),
    }  # fmt: skip


def _edges(ahead: Tensor, behind: Tensor) -> Tensor:
    return (ahead - behind).abs().mean()


@torch.no_grad()
def encode_all(vae: AutoencoderKLWan, pixels_MCTHW: Tensor) -> Tensor:
    """Encode uint8 videos to normalised latents in half precision."""
    encoded = []
    for batch in pixels_MCTHW.split(ENCODED_AT_ONCE):
        pixels = (batch.float() / 255).to(vae.device)
        encoded.append(encode_linear(vae, pixels).to(batch.device, torch.float16))
    return torch.cat(encoded)


def make_linear_vae(folder: Path, sample_BCTHW: Tensor, size: LinearVaeSize) -> AutoencoderKLWan:
    """Fit the linear VAE and write it to `folder`, or read an existing one.

    Principal components may change their sign with the number of threads, so they are fitted once
    per run: everything trained on these latents depends on them.
    """
    if not folder.exists():
        vae = make_vae(size)
        set_linear(vae, sample_BCTHW)
        vae.save_pretrained(folder)
    return AutoencoderKLWan.from_pretrained(folder)


def train_vae(
    assets: Path,
    out: Path,
    scene: SceneRecipe,
    loop: LoopRecipe,
    size: LinearVaeSize,
    *,
    num_clips: int = 1200,
    batch_size: int = 8,
    num_workers: int = 0,
) -> AutoencoderKLWan:
    """Fit the encoder, train the decoder, write `out/vae`.

    All clips are held as bytes, on the device if they fit: 3 GiB for 1200 of 160x96x16.
    """
    # --- data ---
    pixels_NSCTHW = compose_streams(SceneSource(assets, scene), num_clips, num_workers)
    unseen = SceneRecipe(scene.width, scene.height, scene.num_frames, (1,), False, True, seed=7)
    held_out = signed(compose_streams(SceneSource(assets, unseen), HELD_OUT_CLIPS))

    # --- encoder, in closed form ---
    torch.manual_seed(loop.seed)
    sample = signed(pixels_NSCTHW[:FITTED_CLIPS].flatten(0, 1))
    log.info("linear floor: %s", pca_floor(sample, held_out, size.z_dim))
    with PartialState().main_process_first():
        vae = make_linear_vae(out / "vae", sample, size)
    device = PartialState().device
    vae.to(device)
    # Latents take half as many bytes as pixels.
    home, held_out = home_of(pixels_NSCTHW.nbytes * 3 // 2, device), held_out.to(device)
    pixels_NSCTHW = pixels_NSCTHW.to(home)
    latents = encode_all(vae, pixels_NSCTHW.flatten(0, 1))

    # --- decoder ---
    vae.requires_grad_(False)
    decoder = Decoder(vae).requires_grad_(True)

    def evaluate(step: int) -> dict[str, float]:
        given = encode_linear(vae, (held_out.flatten(0, 1) + 1) / 2)
        decoded = torch.cat([decoder(part) for part in given.split(DECODED_AT_ONCE)])
        return psnr_per_stream(decoded.unflatten(0, held_out.shape[:2]), held_out)

    loss = DecoderLoss(latents, pixels_NSCTHW.flatten(0, 1), batch_size)
    train(
        out / "run-vae", decoder, loss, loop, evaluate=evaluate, evaluate_every=250
    ).copy_to(decoder)  # fmt: skip
    vae.requires_grad_(False).eval()
    if PartialState().is_main_process:
        vae.save_pretrained(out / "vae")
    return vae
