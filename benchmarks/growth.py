"""Growth of time with the number of foregrounds, within a window of 1 and in full attention.

The sizes are scaled down from Wan2.1-1.3B at 832x480. A frame has 96 tokens instead of 1 560, the
network has one block, and its width is a quarter. Attention then has about its share of a full
step: 86 % of the operations at 10 streams and 81 frames, and 96 % at full size. Two more cases have
10 streams and 81 frames. With twice as many tokens in a frame attention has 92 %. At full width it
has 60 %, and no window can reach 0.4.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from torch import Tensor

from benchmarks.machine import precision_of
from benchmarks.memory import extra_peak_bytes
from benchmarks.models import TOY, WAN_1_3B, make_ours
from benchmarks.pairs import NUM_PAIRS, Pairs, alternate_seconds
from benchmarks.rows import Row
from layert2v_model.network.transformer import LayerT2VTransformer3DModel

QUARTER: dict[str, Any] = {**WAN_1_3B, "num_attention_heads": 3, "ffn_dim": 2240}

Size = tuple[int, int]
SIZE: Size = (8, 12)
"""Rows and columns of tokens in a frame."""
LARGER: Size = (12, 16)

LATENT_FRAMES = {33: 9, 81: 21}
"""Latent frames of Wan's VAE, by frames."""


@dataclass(frozen=True)
class Case:
    """One size of one model."""

    ours: LayerT2VTransformer3DModel
    foregrounds: int
    num_frames: int
    """Number of frames of pixels."""
    frames: int
    """Number of frames of tokens."""
    size: Size = SIZE

    @property
    def streams(self) -> int:
        """Videos in the joint sequence."""
        return 2 + 2 * self.foregrounds

    @property
    def tokens(self) -> int:
        """Number of tokens of all streams."""
        return self.streams * self.frames * self.size[0] * self.size[1]

    @property
    def name(self) -> str:
        """Its name in the table."""
        dim = self.ours.config.num_attention_heads * self.ours.config.attention_head_dim
        return (
            f"S = {self.streams}, {self.num_frames} frames, {self.tokens} tokens, D = {dim}, "
            "window 1 against full"
        )


@torch.inference_mode()
def rows(*, toy: bool) -> list[Row]:
    """Compare at 33 and 81 frames for 1 to 6 foregrounds, at larger frames and at full width."""
    ours = make_ours(TOY if toy else QUARTER, num_blocks=1)
    wide = make_ours(TOY if toy else WAN_1_3B, num_blocks=1)
    cases = [
        Case(ours, foregrounds, num_frames, 3 if toy else frames)
        for num_frames, frames in LATENT_FRAMES.items()
        for foregrounds in ((1, 5) if toy else range(1, 7))
    ]
    cases.append(Case(ours, 4, 81, 3 if toy else 21, SIZE if toy else LARGER))
    cases.append(Case(wide, 4, 81, 3 if toy else 21))
    # All times are measured before the first peak, which slows down the steps after it.
    steps = [alternate_seconds(_calls(case), 1 if toy else NUM_PAIRS) for case in cases]
    return [row for case, step in zip(cases, steps, strict=True) for row in _rows(case, step)]


def _rows(case: Case, seconds: dict[str, list[float]]) -> list[Row]:
    peaks = {name: extra_peak_bytes(call) / 2**20 for name, call in _calls(case).items()}
    precision = precision_of(case.ours)
    target = 0.4 if case.streams == 10 and case.tokens >= 20_000 else None
    steps, memory = Pairs.of(seconds, "windowed", "full"), (peaks["windowed"], peaks["full"])
    return [
        Row.paired("growth", case.name, "step, s", precision, steps, target),
        Row("growth", case.name, "extra peak, MiB", precision, *memory),
    ]


def _calls(case: Case) -> dict[str, Callable[[], Tensor]]:
    ours, streams = case.ours, case.streams
    rows, columns = case.size
    latents = torch.randn(1, streams, 16, case.frames, 2 * rows, 2 * columns)
    read = ours.read_text(torch.randn(1, streams, 100, ours.config.text_dim))

    def step(window: int | None) -> Tensor:
        ours.register_to_config(cross_stream_window=window)
        return ours(latents, torch.tensor([500.0]), read, return_dict=False)[0]

    return {"full": partial(step, None), "windowed": partial(step, 1)}
