"""A Wan-type VAE that starts as the best linear codec of its rate, in closed form.

Trained from scratch on a CPU, a small VAE stays below the principal components of its own rate for
hours (`docs/log.md`). So the VAE of the shipped model starts *as* those components. They are
written into the weights of an ordinary `AutoencoderKLWan` whose only resampling is its patch size
(8x8 pixels of a frame to `z_dim` numbers). The encoder stays there, so that latents never change
and the transformer can be trained at once. The decoder learns what a linear map cannot do.

Residual branches begin at zero, so both trunks are linear. Two facts make the heads linear too:
`silu(a) - silu(-a) = a`, and an RMS norm whose input has one large constant channel divides by a
constant, up to `sum(a^2) / (2 c^2)`. The constant's gain is 0, so nothing after a norm sees it.

Channels of both trunks: `z_dim` components, the same negated, free channels, and last the constant.
"""

from dataclasses import dataclass

import torch
from diffusers import AutoencoderKLWan
from diffusers.models.autoencoders.autoencoder_kl_wan import patchify
from einops import rearrange
from torch import Tensor, nn

from layert2v_model.vae import codec
from layert2v_training.number_kinds import Count

CONSTANT = 300.0
"""The constant channel: the squares of 48 latents of unit variance are 0.05 % of its own."""
LOG_VARIANCE = -20.0
"""The posterior is a point: its mode is what is used (`docs/design_model.md`, alpha VAE)."""


@dataclass(frozen=True)
class LinearVaeSize:
    """Sizes of the small VAE: 8x8 pixels of a frame to 48 numbers, a quarter of the data."""

    z_dim: Count = 48
    encoder_dim: Count = 98
    decoder_dim: Count = 128
    patch_size: Count = 8


def make_vae(size: LinearVaeSize) -> AutoencoderKLWan:
    """Make the VAE with random weights: spatial factor 8, temporal factor 1."""
    channels = 3 * size.patch_size**2
    return AutoencoderKLWan(
        base_dim=size.encoder_dim,
        decoder_base_dim=size.decoder_dim,
        z_dim=size.z_dim,
        dim_mult=[1],
        num_res_blocks=1,
        attn_scales=[],
        temperal_downsample=[],
        latents_mean=[0.0] * size.z_dim,
        latents_std=[1.0] * size.z_dim,
        in_channels=channels,
        out_channels=channels,
        patch_size=size.patch_size,
        scale_factor_temporal=1,
        scale_factor_spatial=size.patch_size,
    )


def _principal(rows_ND: Tensor, count: int) -> tuple[Tensor, Tensor]:
    """Leading directions (D, count) and the standard deviations along them."""
    values, vectors = torch.linalg.eigh(rows_ND.T @ rows_ND / len(rows_ND))
    return vectors[:, -count:].flip(1), values[-count:].flip(0).clamp_min(1e-12).sqrt()


def _gain(std_K: Tensor) -> Tensor:
    """Scale that leaves each latent with a standard deviation proportional to its square root.

    This is half-way between raw and whitened components. The last raw ones are lost in the noise of
    diffusion, and the last whitened ones are noise that the transformer would have to learn.
    """
    return std_K.rsqrt() / std_K.mean().sqrt()


@torch.no_grad()
def set_linear(vae: AutoencoderKLWan, videos_BCTHW: Tensor) -> None:
    """Write the principal components of `videos_BCTHW` into both halves of the VAE, in place.

    Args:
        vae: As `make_vae` gives it.
        videos_BCTHW: RGB in [-1, 1]; H and W multiples of the patch size.
    """
    patches = patchify(videos_BCTHW.float(), vae.config.patch_size)
    rows_ND = rearrange(patches, "b c t h w -> (b t h w) c")
    mean_D, count = rows_ND.mean(0), vae.config.z_dim
    basis_DK, std_K = _principal(rows_ND - mean_D, count)
    gain_K = _gain(std_K)
    _silence_branches(vae)
    _set_encoder(vae, mean_D, basis_DK * gain_K)
    _set_decoder(vae, mean_D, basis_DK / gain_K)
    for conv, channels in ((vae.quant_conv, 2 * count), (vae.post_quant_conv, count)):
        conv.weight.zero_()
        conv.bias.zero_()
        conv.weight[range(channels), range(channels)] = 1.0


def _silence_branches(vae: AutoencoderKLWan) -> None:
    """Make every residual branch and attention add nothing, without stopping their gradients."""
    for name, module in vae.named_modules():
        if name.endswith(("conv2", "proj")):
            _clear(module)
        elif name.endswith(("norm", "norm1", "norm2", "norm_out")) and hasattr(module, "gamma"):
            # Undo the division by the constant; the constant itself is silenced.
            module.gamma.fill_(CONSTANT / module.gamma.shape[0] ** 0.5)
            module.gamma[-1] = 0.0


def _clear(conv: nn.Module) -> None:
    for parameter in conv.parameters():
        nn.init.zeros_(parameter)


def _set_encoder(vae: AutoencoderKLWan, mean_D: Tensor, analysis_DK: Tensor) -> None:
    encoder, count = vae.encoder, vae.config.z_dim
    _clear(encoder.conv_in)
    _clear(encoder.conv_out)
    offset_K = mean_D @ analysis_DK
    for first, sign in ((0, 1.0), (count, -1.0)):
        rows = slice(first, first + count)
        encoder.conv_in.weight[rows, :, 2, 1, 1] = sign * analysis_DK.T
        encoder.conv_in.bias[rows] = -sign * offset_K
        encoder.conv_out.weight[range(count), range(first, first + count), 2, 1, 1] = sign
    encoder.conv_in.bias[-1] = CONSTANT
    encoder.conv_out.bias[count:] = LOG_VARIANCE


def _set_decoder(vae: AutoencoderKLWan, mean_D: Tensor, synthesis_DK: Tensor) -> None:
    decoder, count = vae.decoder, vae.config.z_dim
    _clear(decoder.conv_out)
    nn.init.zeros_(decoder.conv_in.bias)
    decoder.conv_in.weight[: 2 * count] = 0.0
    decoder.conv_in.weight[-1] = 0.0
    for first, sign in ((0, 1.0), (count, -1.0)):
        rows = slice(first, first + count)
        decoder.conv_in.weight[range(first, first + count), range(count), 2, 1, 1] = sign
        decoder.conv_out.weight[:, rows, 2, 1, 1] = sign * synthesis_DK
    decoder.conv_in.bias[-1] = CONSTANT
    decoder.conv_out.bias.copy_(mean_D)


@torch.no_grad()
def encode_linear(vae: AutoencoderKLWan, pixels_BCTHW: Tensor) -> Tensor:
    """Encode as the linear encoder does, by its one matrix.

    Many times faster than running branches of zeros; equal to `codec.encode` to 1e-2 of a unit
    standard deviation (a test holds that).

    Args:
        vae: As `set_linear` left its encoder.
        pixels_BCTHW: RGB in [0, 1]; H and W multiples of the patch size.

    Returns:
        Normalised latents (B, z_dim, T, H / 8, W / 8), float32.
    """
    count, conv = vae.config.z_dim, vae.encoder.conv_in
    patches = patchify(2 * pixels_BCTHW.float() - 1, vae.config.patch_size)
    codes = torch.einsum("kc,bcthw->bkthw", conv.weight[:count, :, 2, 1, 1], patches)
    return codes + conv.bias[:count, None, None, None]


def is_linear(vae: AutoencoderKLWan) -> bool:
    """Tell whether `make_vae` made a VAE, in which only patches resample."""
    return len(vae.config.dim_mult) == 1 and vae.config.patch_size is not None


@torch.no_grad()
def encode_pixels(vae: AutoencoderKLWan, pixels_BCTHW: Tensor) -> Tensor:
    """Encode pixels in [0, 1] with any VAE, by the shortest exact way: normalised latents."""
    return (encode_linear if is_linear(vae) else codec.encode)(vae, pixels_BCTHW)


@torch.no_grad()
def channel_weights(vae: AutoencoderKLWan) -> Tensor:
    """Weigh latent channels half-way between equal weights and their share in the pixels' error.

    The components are orthogonal, so an error e of a channel whose encoder's row has the norm g
    makes a squared error (e / g)^2 in the pixels. The weights are the square root of that share, so
    that the first components are learned first, and the last still count.

    Returns:
        (z_dim,), float32, 1 in the mean.
    """
    rows_KD = vae.encoder.conv_in.weight[: vae.config.z_dim, :, 2, 1, 1].float()
    weights_K = 1 / rows_KD.norm(dim=1)
    return weights_K / weights_K.mean()
