"""Sizes of the batches of stages 2 and 3, for a dry run.

Shape letters: S streams, T latent frames, H, W of latents.
"""

import math
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass

from layert2v_model.cost.estimate import ModelSize, is_windowed, step_flops
from layert2v_model.shot import ShotFormat
from layert2v_training.stages.joint import TEXT_PER_STREAM, JointRecipe


@dataclass(frozen=True)
class Batch:
    """Clips of one step and process that go through the network together."""

    num_clips: int
    num_foregrounds: int
    latent_THW: tuple[int, int, int]
    is_windowed: bool = False
    """Whether they are one frame of tokens of longer clips."""

    @property
    def num_streams(self) -> int:
        """Streams of each clip, S."""
        return 2 + 2 * self.num_foregrounds

    @property
    def num_text_tokens(self) -> int:
        """Tokens that each stream reads, as `joint.pad_text` leaves them."""
        return TEXT_PER_STREAM * self.num_streams

    @property
    def num_latents(self) -> int:
        """Latent pixels of all streams and clips."""
        return self.num_clips * self.num_streams * math.prod(self.latent_THW)

    def flops(self, size: ModelSize) -> float:
        """Count the forward pass."""
        return self.num_clips * step_flops(self._shot(size), size, self.num_text_tokens)

    def self_attention_flops(self, size: ModelSize) -> float:
        """Count what of it multiplies queries, keys and values of visual tokens."""
        frames, per_frame = size.grid(self._shot(size))
        seen = self.num_streams * frames
        if is_windowed(self._shot(size), size):
            reach = 2 * size.transformer["cross_stream_window"] + 1
            seen = frames + (self.num_streams - 1) * min(frames, reach)
        tokens = self.num_clips * self.num_streams * frames * per_frame
        return float(4 * size.dim * size.transformer["num_layers"] * tokens * seen * per_frame)

    def _shot(self, size: ModelSize) -> ShotFormat:
        frames, height, width = self.latent_THW
        return ShotFormat(
            width * size.spatial_factor,
            height * size.spatial_factor,
            1 + (frames - 1) * size.temporal_factor,
            self.num_foregrounds,
            1,
        )


def latent_shape(size: ModelSize, shape: tuple[int, int, int]) -> tuple[int, int, int]:
    """Return the latent frames, rows and columns of a clip's width, height and frames."""
    width, height, num_frames = shape
    return (
        1 + (num_frames - 1) // size.temporal_factor,
        height // size.spatial_factor,
        width // size.spatial_factor,
    )


def batches(
    recipe: JointRecipe,
    size: ModelSize,
    clips_per_shape: dict[tuple[int, int, int], int],
    foregrounds: tuple[int, ...],
) -> Iterator[tuple[Batch, float]]:
    """List the batches that a stage draws, and how often, as `joint.JointLoss` draws them.

    Args:
        recipe: Recipe of the stage.
        size: Sizes of network and VAE.
        clips_per_shape: Number of clips of each width, height and number of frames.
        foregrounds: Numbers of foregrounds of the clips, each as often as it comes.

    Yields:
        Batches and their shares, which sum to 1.
    """
    main = latent_shape(size, next(iter(clips_per_shape)))
    num_clips, patch = sum(clips_per_shape.values()), size.transformer["patch_size"][0]
    for shape, count in clips_per_shape.items():
        latents = latent_shape(size, shape)
        for is_one_frame, share in enumerate((1 - recipe.windowed_share, recipe.windowed_share)):
            if not share:
                continue
            most = recipe.windowed_batch_size if is_one_frame else recipe.batch_size
            axes = 1 if is_one_frame else 0
            at_once = max(1, most * math.prod(main[axes:]) // math.prod(latents[axes:]))
            seen = (patch, *latents[1:]) if is_one_frame else latents
            for number, times in Counter(foregrounds).items():
                batch = Batch(at_once, number, seen, bool(is_one_frame))
                yield batch, share * count / num_clips * times / len(foregrounds)
