"""Growth with the number of foregrounds: attention within a window of 1 against full attention.

Scaled down from Wan2.1-1.3B at 832x480: 96 tokens a frame instead of 1 560, one block, and a
quarter of the width, which gives attention about the share of a step that it has at full size
(86 % of the operations at 10 streams and 81 frames; 96 % at full size). Two more cases at 10
streams and 81 frames: frames of twice as many tokens, where attention has 92 %, and full width,
where it has 60 % and no window can reach 0.4.
"""

from collections.abc import Callable
from functools import partial
from typing import Any

import torch
from torch import Tensor

from benchmarks.memory import extra_peak_bytes
from benchmarks.models import TOY, WAN_1_3B, make_ours
from benchmarks.rows import Row, median_seconds
from layert2v_model.transformer import LayerT2VTransformer3DModel

QUARTER: dict[str, Any] = {**WAN_1_3B, "num_attention_heads": 3, "ffn_dim": 2240}

Size = tuple[int, int]
SIZE: Size = (8, 12)
"""Rows and columns of tokens in a frame."""
LARGER: Size = (12, 16)

LATENT_FRAMES = {33: 9, 81: 21}
"""Of Wan's VAE, by frames."""


@torch.inference_mode()
def rows(*, toy: bool) -> list[Row]:
    """Compare at 33 and 81 frames for 1 to 6 foregrounds, at larger frames and at full width."""
    ours = make_ours(TOY if toy else QUARTER, num_blocks=1)
    median_seconds(_calls(ours, 4, 3, SIZE), rounds=1)
    found = []
    for num_frames, frames in LATENT_FRAMES.items():
        for foregrounds in (1, 5) if toy else range(1, 7):
            found += _compared(ours, foregrounds, num_frames, 3 if toy else frames)
    found += _compared(ours, 4, 81, 3 if toy else 21, SIZE if toy else LARGER)
    del ours
    wide = make_ours(TOY if toy else WAN_1_3B, num_blocks=1)
    return found + _compared(wide, 4, 81, 3 if toy else 21)


def _compared(
    ours: LayerT2VTransformer3DModel,
    foregrounds: int,
    num_frames: int,
    frames: int,
    size: Size = SIZE,
) -> list[Row]:
    streams = 2 + 2 * foregrounds
    tokens = streams * frames * size[0] * size[1]
    calls = _calls(ours, streams, frames, size)
    seconds = median_seconds(calls, rounds=2, is_warm=True, budget_s=10)
    peaks = {name: extra_peak_bytes(call) / 2**20 for name, call in calls.items()}
    dim = ours.config.num_attention_heads * ours.config.attention_head_dim
    case = f"S = {streams}, {num_frames} frames, {tokens} tokens, D = {dim}, window 1 against full"
    target = 0.4 if streams == 10 and tokens >= 20_000 else None
    return [
        Row("growth", case, "step, s", seconds["windowed"], seconds["full"], target),
        Row("growth", case, "extra peak, MiB", peaks["windowed"], peaks["full"]),
    ]


def _calls(
    ours: LayerT2VTransformer3DModel, streams: int, frames: int, size: Size
) -> dict[str, Callable[[], Tensor]]:
    latents = torch.randn(1, streams, 16, frames, 2 * size[0], 2 * size[1])
    read = ours.read_text(torch.randn(1, streams, 100, ours.config.text_dim))

    def step(window: int | None) -> Tensor:
        ours.register_to_config(cross_stream_window=window)
        return ours(latents, torch.tensor([500.0]), read, return_dict=False)[0]

    return {"full": partial(step, None), "windowed": partial(step, 1)}
