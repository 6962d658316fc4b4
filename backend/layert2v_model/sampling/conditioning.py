"""Given parts that steer the others: clean at t = 0 by frames of tokens, clamped where smaller.

Shape letters: B batch (1), S streams, C channels, T latent frames, H, W, F frames of tokens.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from einops import rearrange
from torch import Tensor

from layert2v_model.finishing.fill import extend
from layert2v_model.sampling.grid import LatentGrid


@dataclass(frozen=True, eq=False)
class Conditioning:
    """The given latents of all streams, and where they are."""

    noise_BSCTHW: Tensor
    """The noise from which denoising starts, and which hides given latents."""
    clean_BSCTHW: Tensor
    """Given latents, elsewhere whatever is there."""
    is_given_BSCTHW: Tensor
    """True on given latents. C is 1, and T, H, W are 1 where all streams are given whole or not."""
    is_held_BSF: Tensor
    """True on frames of tokens at t = 0. F is 1 where all streams are held whole or not at all."""
    is_held_BSCTHW: Tensor
    """The same per latent, C, H, W (and T where F is 1) are 1."""
    is_clamped: bool
    """Whether any latent is given that is not held."""

    def put(self, latents_BSCTHW: Tensor, sigma: Tensor) -> Tensor:
        """Put the given latents in: clean where held, elsewhere as noisy as the others.

        Args:
            latents_BSCTHW: Latents of this step.
            sigma: Their noise level in [0, 1], a scalar on their device.

        Source:
            Lugmayr et al., "RePaint", CVPR 2022, equation 8a, with the linear path of rectified
            flow, for what is clamped.
        """
        given_BSCTHW = self.clean_BSCTHW
        if self.is_clamped:
            noised_BSCTHW = torch.lerp(self.clean_BSCTHW, self.noise_BSCTHW, sigma)
            given_BSCTHW = torch.where(self.is_held_BSCTHW, self.clean_BSCTHW, noised_BSCTHW)
        return torch.where(self.is_given_BSCTHW, given_BSCTHW, latents_BSCTHW)

    def hide(self, latents_BSCTHW: Tensor) -> Tensor:
        """Put noise in place of what is held: the same shot without those givens."""
        return torch.where(self.is_held_BSCTHW, self.noise_BSCTHW, latents_BSCTHW)

    def timesteps(self, timestep: Tensor, held: float) -> Tensor:
        """Say t of every frame of tokens, (1, S, F): `held` where held, elsewhere `timestep`."""
        return torch.where(self.is_held_BSF, held, timestep)


def condition(
    noise: Mapping[str, Tensor],
    clean: Mapping[str, Tensor],
    covered: Mapping[str, Tensor],
    grid: LatentGrid,
    *,
    can_hold: bool,
) -> Conditioning:
    """Collect what is given of the streams.

    Args:
        noise: Per stream, in their order, (1, C, T, H, W).
        clean: Per given stream its latents, of the same shape.
        covered: Per given stream booleans (T, 1, H, W), true on latents that are given.
        grid: Grid of the shot.
        can_hold: Whether the model takes a timestep per stream and frame of tokens; otherwise
            everything is clamped.
    """
    noise_BSCTHW = torch.stack(list(noise.values()), dim=1)
    _, frames, height, width = grid.latent_shape
    none_T1HW = torch.zeros(frames, 1, height, width, dtype=torch.bool)
    given_ST1HW = torch.stack([covered.get(name, none_T1HW) for name in noise])
    held_SF = torch.stack([grid.covered_tokens(given_T1HW) for given_T1HW in given_ST1HW])
    held_SF = held_SF & can_hold
    held_ST = held_SF.repeat_interleave(grid.frames_per_token, dim=1)
    is_clamped = bool((given_ST1HW & ~held_ST[:, :, None, None, None]).any())
    device = noise_BSCTHW.device
    return Conditioning(
        noise_BSCTHW=noise_BSCTHW,
        clean_BSCTHW=torch.stack([clean.get(k, v) for k, v in noise.items()], dim=1),
        is_given_BSCTHW=_narrow(rearrange(given_ST1HW, "s t c h w -> 1 s c t h w")).to(device),
        is_held_BSF=_narrow(held_SF[None]).to(device),
        is_held_BSCTHW=_narrow(rearrange(held_ST, "s t -> 1 s 1 t 1 1")).to(device),
        is_clamped=is_clamped,
    )


def _narrow(flags_BS: Tensor) -> Tensor:
    """Keep one flag per stream where each stream has equal ones: less to compute and to copy."""
    flat_BSN = flags_BS.flatten(2)
    if not torch.equal(flat_BSN.all(2), flat_BSN.any(2)):
        return flags_BS
    return flat_BSN[:, :, :1].view(*flags_BS.shape[:2], *[1] * (flags_BS.ndim - 2))


def fill_unknown(frames_TCHW: Tensor, known_T1HW: Tensor) -> Tensor:
    """Fill the unknown pixels of a stream, so that they do not disturb the encoding of the others.

    Beside a region its colours are extended smoothly. A frame of which nothing is known shows the
    nearest one that is known, the earlier of two.

    Args:
        frames_TCHW: Pixels in [0, 1], on the CPU; read where known only.
        known_T1HW: Booleans, at least one true; H and W may be 1.
    """
    known = known_T1HW.expand(-1, -1, *frames_TCHW.shape[2:])
    frame_is_known_T = known.flatten(1).any(1)
    times = frame_is_known_T.nonzero().flatten()
    filled_TCHW = frames_TCHW.clone()
    for t in times.tolist():
        if not known[t].all():
            filled_TCHW[t] = _extended(frames_TCHW[t], known[t, 0])
    every = torch.arange(len(known))
    nearest_T = times[(every[:, None] - times).abs().argmin(dim=1)]
    return filled_TCHW[nearest_T]


def _extended(frame_CHW: Tensor, known_HW: Tensor) -> Tensor:
    extended_CHW = extend(frame_CHW.contiguous().numpy(), known_HW.numpy().astype(np.float32))
    return torch.from_numpy(extended_CHW).clamp(0, 1)


def tie_ends(latents_BSCTHW: Tensor, looped: Sequence[int]) -> Tensor:
    """Give the first and the last latent frame of some streams their mean, so that they loop.

    Args:
        latents_BSCTHW: Not modified.
        looped: Indices of streams.

    Source:
        Bar-Tal et al., "MultiDiffusion", ICML 2023, equation 5: where two windows share latents,
        both take the mean of what each asks for. Here the two windows are the ends of one stream.
    """
    tied_BSCTHW = latents_BSCTHW.clone()
    for stream in looped:
        ends_BCTHW = latents_BSCTHW[:, stream][:, :, :: max(1, latents_BSCTHW.shape[3] - 1)]
        tied_BSCTHW[:, stream, :, 0] = tied_BSCTHW[:, stream, :, -1] = ends_BCTHW.mean(2)
    return tied_BSCTHW
