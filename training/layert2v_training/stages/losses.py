"""Losses of the transformer.

Shape letters: B batch, S streams, C channels, T latent frames, H, W.
"""

from torch import Tensor


def add_noise(latents_BSCTHW: Tensor, noise_BSCTHW: Tensor, t_BST: Tensor) -> Tensor:
    """Mix pictures and noise: (1 - t) x0 + t eps, t in [0, 1] per stream and latent frame.

    Source:
        Rectified flow: Liu et al., "Flow Straight and Fast", 2022.
    """
    t = t_BST[:, :, None, :, None, None]
    return (1 - t) * latents_BSCTHW + t * noise_BSCTHW


def flow_matching_loss(
    velocity_BSCTHW: Tensor,
    latents_BSCTHW: Tensor,
    noise_BSCTHW: Tensor,
    given_BSTHW: Tensor,
    channel_weights_C: Tensor | None = None,
) -> Tensor:
    """Mean squared error of the velocity eps - x0 over what is not given.

    Args:
        velocity_BSCTHW: The model's.
        latents_BSCTHW: Pictures, x0.
        noise_BSCTHW: eps.
        given_BSTHW: True where something is given and counts for nothing. T, H, W may be 1.
        channel_weights_C: Weight of each latent channel, 1 in the mean; None: alike. They
            move no optimum, only what a small network learns first.
    """
    error_BSCTHW = (velocity_BSCTHW.float() - (noise_BSCTHW - latents_BSCTHW)).square()
    if channel_weights_C is not None:
        error_BSCTHW = error_BSCTHW * channel_weights_C.view(1, 1, -1, 1, 1, 1)
    error_BSTHW = error_BSCTHW.mean(2)
    wanted_BSTHW = (~given_BSTHW).expand_as(error_BSTHW)
    return (error_BSTHW * wanted_BSTHW).sum() / wanted_BSTHW.sum().clamp_min(1)
