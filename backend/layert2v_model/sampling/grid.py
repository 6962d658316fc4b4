"""The place of a shot's pixels among latents and tokens.

Shape letters: T frames (pixels or latents), C channels, H, W, F frames of tokens.
"""

from dataclasses import dataclass

import torch
from diffusers import AutoencoderKLWan
from einops import reduce
from torch import Tensor

from layert2v_model.network.transformer import LayerT2VTransformer3DModel
from layert2v_model.vae import codec


@dataclass(frozen=True)
class LatentGrid:
    """One stream's pixels, latents and tokens. All streams of a shot share it."""

    num_frames: int
    """Frames of pixels."""
    height: int
    """Pixels."""
    width: int
    """Pixels."""
    channels: int
    """Channels of a latent."""
    temporal_factor: int
    """Frames that a latent frame after the first stands for. The first stands for one."""
    spatial_factor: int
    """Pixels along one side of a latent."""
    frames_per_token: int
    """Latent frames in one frame of tokens."""

    @property
    def latent_shape(self) -> tuple[int, int, int, int]:
        """Channels, frames, height and width of a stream's latents."""
        return (
            self.channels,
            1 + (self.num_frames - 1) // self.temporal_factor,
            self.height // self.spatial_factor,
            self.width // self.spatial_factor,
        )

    def first_frame(self, latent_frame: int) -> int:
        """Say with which frame of pixels a latent frame begins; for the count, `num_frames`."""
        return 1 + (latent_frame - 1) * self.temporal_factor if latent_frame else 0

    def latent_frame(self, first_frame: int) -> int:
        """Undo `first_frame` for the first frame of pixels of a latent frame."""
        return 1 + (first_frame - 1) // self.temporal_factor if first_frame else 0

    def covered_latents(self, known_T1HW: Tensor) -> Tensor:
        """Find the latents of which every pixel is known.

        Args:
            known_T1HW: Booleans per pixel. H and W may be 1, for whole frames.

        Returns:
            Booleans (T of latents, 1, H of latents, W of latents).
        """
        known = known_T1HW.expand(-1, -1, self.height, self.width)
        side = self.spatial_factor
        blocks = reduce(known, "t c (h p) (w q) -> t c h w", "all", p=side, q=side)
        rest = reduce(blocks[1:], "(t f) c h w -> t c h w", "all", f=self.temporal_factor)
        return torch.cat([blocks[:1], rest])

    def covered_tokens(self, covered_T1HW: Tensor) -> Tensor:
        """Find the frames of tokens of which every latent is covered: booleans (F,)."""
        return reduce(covered_T1HW, "(f p) c h w -> f", "all", p=self.frames_per_token)

    def frames_of_tokens(self, tokens_F: Tensor) -> Tensor:
        """Spread booleans per frame of tokens (F,) over frames of pixels (T,)."""
        per_latent = tokens_F.repeat_interleave(self.frames_per_token)
        return torch.cat([per_latent[:1], per_latent[1:].repeat_interleave(self.temporal_factor)])


def latent_grid(
    width: int,
    height: int,
    num_frames: int,
    transformer: LayerT2VTransformer3DModel,
    vae: AutoencoderKLWan,
) -> LatentGrid:
    """Lay out a shot of a checked size on a model's latents and tokens."""
    return LatentGrid(
        num_frames=num_frames,
        height=height,
        width=width,
        channels=transformer.config.in_channels,
        temporal_factor=codec.temporal_factor(vae),
        spatial_factor=codec.spatial_factor(vae),
        frames_per_token=transformer.config.patch_size[0],
    )
