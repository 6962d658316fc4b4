"""A block of the network: Wan's, on tokens of streams.

Shape letters: B batch, S streams, L tokens of one stream, F modulated frames (1, or the frames of
tokens), N text tokens, D width.
"""

from typing import Any

import torch
from diffusers.hooks._helpers import TransformerBlockMetadata, TransformerBlockRegistry
from diffusers.models.transformers.transformer_wan import WanTransformerBlock
from torch import Tensor, nn

from layert2v_model.attention import (
    JointSelfAttnProcessor,
    KeyValue,
    QueryKeyNorm,
    Rotary,
    StreamCrossAttnProcessor,
)
from layert2v_model.window import FrameWindow


class LayerT2VTransformerBlock(WanTransformerBlock):
    """Wan's block on tokens (B, S, L, D) with modulation per stream, or per stream and frame."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.attn1.set_processor(JointSelfAttnProcessor())
        self.attn2.set_processor(StreamCrossAttnProcessor())
        for attention in (self.attn1, self.attn2):
            attention.norm_q = QueryKeyNorm(attention.inner_dim, eps=attention.norm_q.eps)
            attention.norm_k = QueryKeyNorm(attention.inner_dim, eps=attention.norm_k.eps)

    def forward(
        self,
        hidden_states: Tensor,
        encoder_hidden_states: Tensor | KeyValue,
        temb: Tensor,
        rotary_emb: Rotary,
        encoder_attention_mask: Tensor | None = None,
        window: FrameWindow | None = None,
    ) -> Tensor:
        """Map tokens to tokens.

        Args:
            hidden_states: Tokens (B, S, L, D).
            encoder_hidden_states: Text after its MLP (B, S, N, D), or its keys and values.
            temb: Time and layer modulation (B, S, F, 6, D), float32; F divides L.
            rotary_emb: Cosines and sines (1, S, L, 1, head width).
            encoder_attention_mask: None, or a boolean (B, S, N), true on real text tokens.
            window: What self-attention sees of other streams; None: all.
        """
        # Order of the six: Wan's, for self-attention and then for the feed-forward.
        shift_1, scale_1, gate_1, shift_2, scale_2, gate_2 = (
            self.scale_shift_table.float() + temb
        ).unbind(dim=-2)

        normed = modulated(self.norm1, hidden_states, shift_1, scale_1)
        update = self.attn1(normed, None, None, rotary_emb, window=window)
        hidden_states = _gated(hidden_states, update, gate_1)

        normed = self.norm2(hidden_states.float()).type_as(hidden_states)
        text = self.attn2(normed, encoder_hidden_states, encoder_attention_mask, None)
        hidden_states = hidden_states + text

        normed = modulated(self.norm3, hidden_states, shift_2, scale_2)
        return _gated(hidden_states, self.ffn(normed), gate_2)


def modulated(
    norm: nn.Module, tokens_BSLD: Tensor, shift_BSFD: Tensor, scale_BSFD: Tensor
) -> Tensor:
    """Normalise tokens, then scale by 1 + scale and shift, in float32; L is F times a frame."""
    normed = norm(tokens_BSLD.float()).unflatten(2, (shift_BSFD.shape[2], -1))
    # One pass and one temporary instead of two: the largest tensors of a block outside attention.
    result = torch.addcmul(shift_BSFD[:, :, :, None], normed, 1 + scale_BSFD[:, :, :, None])
    return result.flatten(2, 3).type_as(tokens_BSLD)


def _gated(tokens_BSLD: Tensor, update_BSLD: Tensor, gate_BSFD: Tensor) -> Tensor:
    frames = (gate_BSFD.shape[2], -1)
    tokens, update = (x.float().unflatten(2, frames) for x in (tokens_BSLD, update_BSLD))
    result = torch.addcmul(tokens, update, gate_BSFD[:, :, :, None])
    return result.flatten(2, 3).type_as(tokens_BSLD)


TransformerBlockRegistry.register(
    LayerT2VTransformerBlock, TransformerBlockMetadata(return_hidden_states_index=0)
)
