"""A window's attention by PyTorch's flex attention, a rival of `layert2v_model.network.window`.

One compiled kernel skips blocks of tokens that are not seen. All tokens of a frame see the same. So
the blocks follow from a small matrix over frames, and no mask over tokens is built.

Shape letters: N cells (frames of all streams), Q and K blocks of queries and of keys, B batch,
S streams, F frames of tokens, P tokens of one frame, A heads, E width of a head.
"""

from collections.abc import Callable
from functools import cache

import torch
from einops import rearrange
from torch import Tensor
from torch.nn.attention.flex_attention import BlockMask, flex_attention

BLOCK = 128
"""Tokens of a block on accelerators. Tiles of their kernels divide it. It is PyTorch's default."""


def window_mask(
    num_streams: int, num_frames: int, tokens_per_frame: int, reach: int, device: torch.device
) -> BlockMask:
    """Give the blocks that each block of tokens sees, for tokens by stream, frame and place.

    Args:
        num_streams: Number of streams S.
        num_frames: Number of frames F.
        tokens_per_frame: Number of tokens P.
        reach: Frames seen to either side in the other streams, from 0.
        device: The device of the tokens.
    """
    # A CPU's kernel takes blocks of any size. A block of one frame is seen whole or not at all.
    size = tokens_per_frame if device.type == "cpu" else BLOCK
    num_tokens = num_streams * num_frames * tokens_per_frame
    frame_N = torch.arange(num_frames).repeat(num_streams)
    stream_N = torch.arange(num_streams).repeat_interleave(num_frames)
    is_seen_NN = (stream_N[:, None] == stream_N) | ((frame_N[:, None] - frame_N).abs() <= reach)
    is_some_QK, is_all_QK = _blocks_seen(is_seen_NN, tokens_per_frame, size)

    def is_seen(batch: Tensor, head: Tensor, query: Tensor, key: Tensor) -> Tensor:
        query_cell, key_cell = query // tokens_per_frame, key // tokens_per_frame
        apart = query_cell % num_frames - key_cell % num_frames
        return (query_cell // num_frames == key_cell // num_frames) | (apart.abs() <= reach)

    return BlockMask.from_kv_blocks(
        *_ordered(is_some_QK & ~is_all_QK),
        *_ordered(is_all_QK),
        BLOCK_SIZE=size,
        mask_mod=is_seen,
        seq_lengths=(num_tokens, num_tokens),
    ).to(device)


@cache
def _kernel() -> Callable[..., Tensor]:
    # In PyTorch 2.13 the kernel for CPUs takes no symbolic shapes.
    return torch.compile(flex_attention, dynamic=False)


def attend_flex(
    query_BSFPAE: Tensor, key_BSFPAE: Tensor, value_BSFPAE: Tensor, mask: BlockMask
) -> Tensor:
    """Attend within the mask: (B, S, F, P, A, E). Compiles once for every shape."""
    streams, frames = query_BSFPAE.shape[1:3]
    heads_first = (
        rearrange(x, "b s f p a e -> b a (s f p) e")
        for x in (query_BSFPAE, key_BSFPAE, value_BSFPAE)
    )
    out_BALE = _kernel()(*heads_first, block_mask=mask)
    return rearrange(out_BALE, "b a (s f p) e -> b s f p a e", s=streams, f=frames)


def _blocks_seen(is_seen_NN: Tensor, tokens_per_cell: int, size: int) -> tuple[Tensor, Tensor]:
    """Say of every pair of blocks whether some of it is seen, and whether all: (Q, K) each.

    Sums over rectangles of cells come from a table of running sums.
    """
    num_cells = len(is_seen_NN)
    num_tokens = num_cells * tokens_per_cell
    begin = torch.arange(0, num_tokens, size)
    first = begin // tokens_per_cell
    end = ((begin + size).clamp(max=num_tokens) - 1) // tokens_per_cell + 1
    sums = torch.zeros(num_cells + 1, num_cells + 1, dtype=torch.long)
    sums[1:, 1:] = is_seen_NN.long().cumsum(0).cumsum(1)
    count_QK = (
        sums[end[:, None], end] - sums[first[:, None], end] - sums[end[:, None], first]
        + sums[first[:, None], first]
    )  # fmt: skip
    is_whole = begin + size <= num_tokens
    is_all_QK = count_QK == (end - first)[:, None] * (end - first)
    return count_QK > 0, is_all_QK & is_whole[:, None] & is_whole


def _ordered(is_listed_QK: Tensor) -> tuple[Tensor, Tensor]:
    """List each row's blocks of keys, seen ones first: (1, 1, Q) counts, (1, 1, Q, K) numbers."""
    count_Q = is_listed_QK.sum(1, dtype=torch.int32)
    order_QK = (~is_listed_QK).int().argsort(dim=1, stable=True).int()
    return count_Q[None, None], order_QK[None, None].contiguous()
