"""What the transformer minimises.

Shape letters: B batch, S streams, C channels, T latent frames, H, W.
"""

import torch
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
    given_BS: Tensor,
    channel_weights_C: Tensor | None = None,
) -> Tensor:
    """Mean squared error of the velocity eps - x0 over the streams that are not given.

    Args:
        velocity_BSCTHW: The model's.
        latents_BSCTHW: Pictures, x0.
        noise_BSCTHW: eps.
        given_BS: True where a stream is given and counts for nothing.
        channel_weights_C: How much each latent channel counts, 1 in the mean; None: alike. They
            move no optimum, only what a small network learns first.
    """
    error_BSCTHW = (velocity_BSCTHW.float() - (noise_BSCTHW - latents_BSCTHW)).square()
    if channel_weights_C is not None:
        error_BSCTHW = error_BSCTHW * channel_weights_C.view(1, 1, -1, 1, 1, 1)
    error_BS = error_BSCTHW.mean((2, 3, 4, 5))
    wanted_BS = (~given_BS).float()
    return (error_BS * wanted_BS).sum() / wanted_BS.sum().clamp_min(1)


@torch.no_grad()
def per_role_losses(
    velocity_BSCTHW: Tensor, latents_BSCTHW: Tensor, noise_BSCTHW: Tensor
) -> dict[str, float]:
    """The loss of full, background, foregrounds and alphas on their own, for the log."""
    error_S = (
        (velocity_BSCTHW.float() - (noise_BSCTHW - latents_BSCTHW)).square().mean((0, 2, 3, 4, 5))
    )
    return {
        "full": float(error_S[0]),
        "background": float(error_S[1]),
        "foreground": float(error_S[2::2].mean()),
        "alpha": float(error_S[3::2].mean()),
    }
