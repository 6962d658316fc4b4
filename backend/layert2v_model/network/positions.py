"""Positions of tokens: native 3D positions over the joint sequence.

Shape letters: B batch, S streams, L tokens of a stream, C channels, T, H, W of latents.
"""

from typing import Any

import torch
from diffusers.models.transformers.transformer_wan import WanRotaryPosEmbed
from einops import rearrange
from torch import Tensor

from layert2v_model.errors import InvalidShot
from layert2v_model.network.attention import Rotary

STREAM_POSITIONS = ("released", "shared")
"""`released`: the time index runs through all streams, s * T + t. `shared`: it begins at 0 in each,
and only LayerAdaLN tells streams apart."""


class JointRotaryPosEmbed(WanRotaryPosEmbed):
    """Native 3D positions of the tokens of all streams.

    Source: LayerT2V's release with `use_4d_rope: false`, the setting of all its recipes.
    """

    def __init__(
        self,
        attention_head_dim: int,
        patch_size: tuple[int, ...],
        max_seq_len: int,
        stream_positions: str = "released",
    ) -> None:
        super().__init__(attention_head_dim, patch_size, max_seq_len)
        self._is_shared = stream_positions == "shared"
        self._tables: dict[tuple[Any, ...], Rotary] = {}

    def forward(self, hidden_states: Tensor) -> Rotary:
        """Return float32 cosines and sines (1, S, L, 1, head) for latents (B, S, C, T, H, W)."""
        _, num_streams, _, num_frames, height, width = hidden_states.shape
        key = (num_streams, num_frames, height, width, hidden_states.device)
        if key not in self._tables:
            self._tables[key] = self._joint_tables(hidden_states)
        return self._tables[key]

    def _joint_tables(self, latents_BSCTHW: Tensor) -> Rotary:
        _, num_streams, channels, num_frames, height, width = latents_BSCTHW.shape
        if any(n % p for n, p in zip((num_frames, height, width), self.patch_size, strict=True)):
            raise InvalidShot(
                f"latents of {num_frames} frames, {height} x {width}, do not fill patches of "
                f"{tuple(self.patch_size)}; use a multiple of each"
            )
        num_counted = 1 if self._is_shared else num_streams
        num_positions = num_counted * num_frames // self.patch_size[0]
        if num_positions > self.max_seq_len:
            raise InvalidShot(
                f"{num_streams} streams of {num_frames} latent frames need {num_positions} "
                f"positions, the model has {self.max_seq_len}; ask for fewer frames or foregrounds"
            )
        with torch.inference_mode(False), torch.no_grad():
            joint = latents_BSCTHW.new_empty(
                (1, channels, num_counted * num_frames, height, width), device="meta"
            )
            cos, sin = super().forward(joint)
            return self._per_stream(cos, latents_BSCTHW), self._per_stream(sin, latents_BSCTHW)

    def _per_stream(self, table: Tensor, latents_BSCTHW: Tensor) -> Tensor:
        num_streams = latents_BSCTHW.shape[1]
        counted = 1 if self._is_shared else num_streams
        streams = rearrange(table, "b (s l) h d -> b s l h d", s=counted)
        streams = streams.expand(-1, num_streams, -1, -1, -1)
        # A view would show a compiled block the table it was cut from.
        return streams.to(latents_BSCTHW.device, torch.float32, copy=True).contiguous()
