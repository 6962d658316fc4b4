"""Losses of pixels decoded from the transformer's latents: mattes, and layers that add up.

Compositing is linear in pixels and not in latents, where an empty layer is not zero. A loss there
pulls background and foreground away from the truth. So it is computed here, from the decoders.

Shape letters: B batch, S streams, C channels, T frames of latents, F frames of pixels, H, W.
"""

from dataclasses import dataclass

import torch
from diffusers import AutoencoderKLWan
from einops import rearrange
from torch import Tensor, nn

from layert2v_model.alpha import flatten
from layert2v_model.vae import codec
from layert2v_training.learning.loop import Losses
from layert2v_training.number_kinds import Count, NotNegative


@dataclass(frozen=True)
class DecodedRecipe:
    """Weights of the losses in decoded space, and how much of a batch is decoded."""

    matte: NotNegative = 0.0
    """Weight of the mattes' pixels. Source: LayerT2V's release, `mask_lora_rec_weight`, 0.1."""
    composite: NotNegative = 0.0
    """Weight of the difference between the composited layers and the full video."""
    num_clips: Count = 1
    """Clips of a batch that are decoded, the first ones."""
    num_latent_frames: Count = 1
    """Latent frames of a clip that are decoded, the first ones: the decoder is causal."""

    @property
    def is_used(self) -> bool:
        """Whether anything is to be decoded."""
        return self.matte > 0 or self.composite > 0


def picture_of(noisy: Tensor, velocity: Tensor, t: Tensor) -> Tensor:
    """Estimate the picture: x0 = x_t - t v, whose error vanishes with t, unlike that of eps - v.

    Args:
        noisy: x_t, normalised latents of any shape.
        velocity: eps - x0 as predicted, of that shape.
        t: Noise level in [0, 1], broadcast over that shape.
    """
    return noisy.float() - t * velocity.float()


class DecodedLosses:
    """Compares decoded estimates with decoded truth, so that the truth costs nothing."""

    def __init__(
        self,
        vae: AutoencoderKLWan,
        alpha_vae: AutoencoderKLWan,
        recipe: DecodedRecipe,
        *,
        is_premultiplied: bool,
    ) -> None:
        self.vae, self.alpha_vae = vae.requires_grad_(False), alpha_vae.requires_grad_(False)
        self.recipe, self.is_premultiplied = recipe, is_premultiplied

    def __call__(self, estimate_BSCTHW: Tensor, truth_BSCTHW: Tensor, t_BST: Tensor) -> Losses:
        """Compare estimates of the pictures with the pictures.

        Both losses are weighed by (1 - t)^2 of the noisiest stream in them. Where much is unknown
        an estimate is a mean of pictures, and means of layers do not composite to the mean.

        Args:
            estimate_BSCTHW: Result of `picture_of`, normalised latents.
            truth_BSCTHW: The clip's latents.
            t_BST: Noise levels per latent frame.
        """
        for decoder in (self.vae, self.alpha_vae):
            if decoder.device != estimate_BSCTHW.device:
                decoder.to(estimate_BSCTHW.device)
        clips, frames = self.recipe.num_clips, self.recipe.num_latent_frames
        estimate, truth = (x[:clips, :, :, :frames] for x in (estimate_BSCTHW, truth_BSCTHW))
        t_BS = t_BST[:clips, :, :frames].amax(2)
        with torch.no_grad():
            true_alphas = self._alphas(truth)
        alphas = self._alphas(estimate)
        losses: Losses = {}
        if self.recipe.matte:
            error = nn.functional.smooth_l1_loss(2 * alphas, 2 * true_alphas, reduction="none")
            weight_BK = (1 - t_BS[:, 3::2]).square()
            losses["matte"] = self.recipe.matte * (weight_BK * error.flatten(2).mean(2)).mean()
        if self.recipe.composite:
            with torch.no_grad():
                expected = self._remainder(truth, true_alphas)
            error = (self._remainder(estimate, alphas) - expected).square().flatten(1).mean(1)
            weight_B = (1 - t_BS.amax(1)).square()
            losses["composite"] = self.recipe.composite * (weight_B * error).mean()
        return losses

    def _alphas(self, latents_BSCTHW: Tensor) -> Tensor:
        """Decode mattes: (B, K, F, H, W) around [0, 1]."""
        decoded = _decode(self.alpha_vae, latents_BSCTHW[:, 3::2])
        return (decoded.mean(2) + 1) / 2

    def _remainder(self, latents_BSCTHW: Tensor, alphas_BKFHW: Tensor) -> Tensor:
        """Full video less the composited layers, (B, 3, F, H, W)."""
        kept = [0, 1, *range(2, latents_BSCTHW.shape[1], 2)]
        pictures_BSCFHW = (_decode(self.vae, latents_BSCTHW[:, kept]) + 1) / 2
        full, background, *colours = pictures_BSCFHW.unbind(1)
        alphas = alphas_BKFHW[:, :, None].unbind(1)
        foregrounds = list(zip(colours, alphas, strict=True))
        layers = flatten(background, foregrounds, is_premultiplied=self.is_premultiplied)
        return full - layers


def _decode(vae: AutoencoderKLWan, latents_BSCTHW: Tensor) -> Tensor:
    raw = codec.decode_raw(vae, rearrange(latents_BSCTHW, "b s c t h w -> (b s) c t h w"))
    return rearrange(raw.float(), "(b s) c f h w -> b s c f h w", b=len(latents_BSCTHW))
