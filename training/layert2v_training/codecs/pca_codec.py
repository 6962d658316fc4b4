"""The linear floor of a VAE: principal components at the same rate.

A VAE that does not beat this on held-out pictures has learned nothing yet.
"""

from dataclasses import dataclass

import torch
from einops import rearrange
from torch import Tensor


@dataclass(frozen=True, eq=False)
class PcaCodec:
    """Projects blocks of pixels on their leading principal components."""

    mean_D: Tensor
    basis_DK: Tensor
    block: tuple[int, int, int]
    """Frames, rows and columns of a block."""

    def reconstruct(self, video_BCTHW: Tensor) -> Tensor:
        """Encode and decode: same shape; T, H and W must be multiples of the block."""
        time, rows, columns = self.block
        pattern = "b c (t p) (h q) (w r) -> b t h w (c p q r)"
        blocks = rearrange(video_BCTHW, pattern, p=time, q=rows, r=columns)
        codes = (blocks - self.mean_D) @ self.basis_DK
        decoded = codes @ self.basis_DK.T + self.mean_D
        inverse = "b t h w (c p q r) -> b c (t p) (h q) (w r)"
        return rearrange(decoded, inverse, c=video_BCTHW.shape[1], p=time, q=rows, r=columns)


def fit_pca(video_BCTHW: Tensor, block: tuple[int, int, int], num_components: int) -> PcaCodec:
    """Fit a codec of `num_components` numbers per block to videos, in closed form."""
    time, rows, columns = block
    pattern = "b c (t p) (h q) (w r) -> (b t h w) (c p q r)"
    blocks = rearrange(video_BCTHW, pattern, p=time, q=rows, r=columns)
    mean_D = blocks.mean(0)
    centred = blocks - mean_D
    _, vectors = torch.linalg.eigh(centred.T @ centred / len(centred))
    return PcaCodec(mean_D, vectors[:, -num_components:].flip(1), block)
