"""The variants of `ablations.py`. Each changes one choice of `tiny`.

Shape letters: S streams, F frames of tokens, H, W of tokens, L tokens of a stream, E width of a
head.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import torch
from diffusers.models.embeddings import get_1d_rotary_pos_embed
from einops import rearrange
from torch import Tensor, nn

from layert2v_model.network.attention import Rotary
from layert2v_model.network.transformer import LayerT2VTransformer3DModel
from layert2v_training.runs.recipes import STAGE_3
from layert2v_training.stages.joint import TINY_TRANSFORMER
from layert2v_training.stages.noise import NoiseMixture

SHIFT = 3.0
AXES = (8, 42, 40, 38)
"""Widths for stream, time, rows and columns. Source: LayerT2V's release, `use_4d_rope: true`."""
NETWORK = {**TINY_TRANSFORMER, "num_attention_heads": 2, "ffn_dim": 768, "num_layers": 5}
"""A third of `tiny`, so that eight variants can be trained on two cores."""


class FourAxisRotary(nn.Module):
    """Positions with an axis for the stream, which the paper tried and rejected."""

    def __init__(self, patch_size: tuple[int, ...]) -> None:
        super().__init__()
        self.patch_size = patch_size

    def forward(self, latents_BSCTHW: Tensor) -> Rotary:
        """Return cosines and sines (1, S, L, 1, E), as the model's own positions do."""
        _, streams, _, *size = latents_BSCTHW.shape
        counts = [streams, *(n // p for n, p in zip(size, self.patch_size, strict=True))]
        tables = [
            get_1d_rotary_pos_embed(width, count, use_real=True, repeat_interleave_real=True)
            for width, count in zip(AXES, counts, strict=True)
        ]
        cos, sin = (self._joined([pair[i] for pair in tables], counts) for i in (0, 1))
        return cos.to(latents_BSCTHW.device), sin.to(latents_BSCTHW.device)

    def _joined(self, axes: list[Tensor], counts: list[int]) -> Tensor:
        parts = []
        for axis, table in enumerate(axes):
            shape = [1, 1, 1, 1, table.shape[1]]
            shape[axis] = counts[axis]
            parts.append(table.float().reshape(shape).expand(*counts, -1))
        return rearrange(torch.cat(parts, -1), "s f h w e -> 1 s (f h w) 1 e").contiguous()


def _use_four_axes(model: LayerT2VTransformer3DModel) -> None:
    model.rope = FourAxisRotary(tuple(model.config.patch_size))


def _leave_out_layer_adaln(model: LayerT2VTransformer3DModel) -> None:
    # The tables begin at 0, so that they add nothing.
    model.layer_adaln.requires_grad_(False)


@dataclass(frozen=True)
class Variant:
    """One way to train."""

    words: str
    """The difference, in a few words."""
    settings: Mapping[str, Any] = field(default_factory=dict)
    """Changed settings of the network."""
    noise: NoiseMixture = field(
        default_factory=lambda: NoiseMixture(
            **{**vars(STAGE_3), "shift": SHIFT, "hidden": 0.1},
        )
    )
    change: Callable[[LayerT2VTransformer3DModel], None] = lambda _: None
    """A change of the network before it learns."""

    @property
    def network(self) -> dict[str, Any]:
        """Give all settings of the network."""
        return {**NETWORK, **self.settings}


VARIANTS = {
    "chosen": Variant("as `tiny`"),
    "prompts": Variant("every layer's stream reads the full prompt too (released)",
                       {"prompt_visibility": "released"}),
    "bleed": Variant("foregrounds' colour extended beyond the matte instead of black",
                     {"foreground_fill": "bleed"}),
    "shared": Variant("positions start again in each stream", {"stream_positions": "shared"}),
    "four-axis": Variant("positions with an axis for the stream", change=_use_four_axes),
    "no-adaln": Variant("without LayerAdaLN", change=_leave_out_layer_adaln),
    "window": Variant("a window of one frame between streams", {"cross_stream_window": 1}),
    "one-level": Variant("all streams at one noise level; given streams are clamped",
                         {"per_stream_timesteps": False}, NoiseMixture(shift=SHIFT)),
}  # fmt: skip
"""Variants by name. The others are compared with the first."""
