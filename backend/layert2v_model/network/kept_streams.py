"""Streams that are given whole, computed in some steps only. This is approximate and optional.

A stream that is given whole sits at t = 0 in every step and comes back as it went in. The others
need only its keys and values in every block. Those change from step to step only because it sees
the others change. So most steps reuse those of an earlier step and compute no token of it.

Shape letters: B batch, S streams, F frames of tokens, L tokens of a stream, A heads, E width of a
head.
"""

from collections.abc import Sequence

import torch
from einops import rearrange
from torch import Tensor


class BlockMemory:
    """Keys and values of the held streams in one block's self-attention."""

    def __init__(self, held: Sequence[int]) -> None:
        self._held = list(held)
        self._kept: tuple[Tensor, ...] = ()
        self.is_reused = False
        """Whether the tokens at hand are those of the other streams only."""

    def joined(
        self, key_BLAE: Tensor, value_BLAE: Tensor, num_streams: int
    ) -> tuple[Tensor, Tensor]:
        """Keep the held streams' keys and values, or add the kept ones: ((S L), A, E) each.

        Args:
            key_BLAE: With their positions, of all `num_streams` streams or of those not held.
            value_BLAE: As `key_BLAE`.
            num_streams: Streams at hand.
        """
        if self.is_reused:
            key, value = (
                torch.cat([now, kept], dim=1)
                for now, kept in zip((key_BLAE, value_BLAE), self._kept, strict=True)
            )
            return key, value
        by_stream = (
            rearrange(x, "b (s l) a e -> b s l a e", s=num_streams) for x in (key_BLAE, value_BLAE)
        )
        self._kept = tuple(x[:, self._held].flatten(1, 2) for x in by_stream)
        return key_BLAE, value_BLAE


class HeldStreams:
    """The streams that hold still, and every block's memory of them during one job."""

    def __init__(self, is_held: Sequence[bool], num_blocks: int, refresh_every: int) -> None:
        """Begin with nothing remembered.

        Args:
            is_held: For each stream whether it is given whole, at t = 0.
            num_blocks: Number of blocks of the transformer.
            refresh_every: Steps from one in which all streams are computed to the next.
        """
        held = [stream for stream, holds in enumerate(is_held) if holds]
        self.made = [stream for stream, holds in enumerate(is_held) if not holds]
        """Streams that every step computes."""
        self.blocks = [BlockMemory(held) for _ in range(num_blocks)]
        self._refresh_every = refresh_every

    def begin(self, step: int) -> None:
        """Say which step comes, counted from 0."""
        for block in self.blocks:
            block.is_reused = step % self._refresh_every != 0

    @property
    def computed(self) -> list[int] | None:
        """Streams that this step computes; None: all."""
        return self.made if self.blocks[0].is_reused else None


def held_streams(is_held_BSF: Tensor, num_blocks: int, refresh_every: int) -> HeldStreams | None:
    """Prepare a job; None where every stream is computed in every step anyway.

    Args:
        is_held_BSF: True on frames of tokens at t = 0, (1, S, F or 1).
        num_blocks: Number of blocks of the transformer.
        refresh_every: Steps between refreshes, from 1, which is exact.
    """
    is_held = is_held_BSF[0].all(dim=1).tolist()
    if refresh_every == 1 or not any(is_held) or all(is_held):
        return None
    return HeldStreams(is_held, num_blocks, refresh_every)
