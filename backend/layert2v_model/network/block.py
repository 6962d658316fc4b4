"""A block of the network: Wan's, on tokens of streams.

Shape letters: B batch, S streams, L tokens of one stream, F modulated frames (1, or the frames of
tokens), N text tokens, D width.
"""

from typing import Any

import torch
from diffusers.hooks._helpers import TransformerBlockMetadata, TransformerBlockRegistry
from diffusers.models.transformers.transformer_wan import WanTransformerBlock
from torch import Tensor, nn

from layert2v_model.at_once import FEED_FORWARD_BYTES
from layert2v_model.network.attention import (
    JointSelfAttnProcessor,
    KeyValue,
    QueryKeyNorm,
    Rotary,
    StreamCrossAttnProcessor,
)
from layert2v_model.network.kept_streams import BlockMemory
from layert2v_model.network.window import FrameWindow


class LayerT2VTransformerBlock(WanTransformerBlock):
    """Wan's block on tokens (B, S, L, D) with modulation per stream, or per stream and frame."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.ffn_dim = self.ffn.net[-1].in_features
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
        memory: BlockMemory | None = None,
        frame_L: Tensor | None = None,
    ) -> Tensor:
        """Map tokens to tokens.

        Args:
            hidden_states: Tokens (B, S, L, D).
            encoder_hidden_states: Text after its MLP (B, S, N, D), or its keys and values.
            temb: Time and layer modulation (B, S, F, 6, D), float32; F divides L, or see `frame_L`.
            rotary_emb: Cosines and sines (1, S, L, 1, head width).
            encoder_attention_mask: None, or a boolean (B, S, N), true on real text tokens.
            window: Part of other streams that self-attention sees; None: all.
            memory: Memory of streams that are not computed in every step; None: all are.
            frame_L: Frame, of F, of each token, where a device has parts of frames; None: all
                frames are whole.
        """
        # Order of the six: Wan's, for self-attention and then for the feed-forward.
        shift_1, scale_1, gate_1, shift_2, scale_2, gate_2 = (
            self.scale_shift_table.float() + temb
        ).unbind(dim=-2)

        # Nothing between has a name: a name would keep a tensor as large as the tokens alive.
        hidden_states = _gated(
            hidden_states,
            self.attn1(
                modulated(self.norm1, hidden_states, shift_1, scale_1, frame_L),
                None,
                None,
                rotary_emb,
                window=window,
                memory=memory,
            ),
            gate_1,
            frame_L,
        )
        hidden_states = hidden_states + self.attn2(
            self.norm2(hidden_states.float()).type_as(hidden_states),
            encoder_hidden_states,
            encoder_attention_mask,
            None,
        )
        return _gated(
            hidden_states,
            self._fed_forward(modulated(self.norm3, hidden_states, shift_2, scale_2, frame_L)),
            gate_2,
            frame_L,
        )

    def _fed_forward(self, tokens_BSLD: Tensor) -> Tensor:
        """Run the feed-forward, a part at a time and in place where nothing is differentiated.

        Its hidden tensors would be the largest of the whole network: at Wan's width twelve times
        as large as the tokens, and twice that under guidance.
        """
        if torch.is_grad_enabled() or torch.compiler.is_compiling():
            return self.ffn(tokens_BSLD)
        joint_ND = tokens_BSLD.flatten(0, 2)
        # A part's result takes the place of its input.
        for part_ND in joint_ND.split(self._tokens_per_part(tokens_BSLD.dtype)):
            part_ND.copy_(self.ffn(part_ND))
        return joint_ND.view(tokens_BSLD.shape)

    def _tokens_per_part(self, dtype: torch.dtype) -> int:
        return max(1, FEED_FORWARD_BYTES // (self.ffn_dim * dtype.itemsize))


def modulated(
    norm: nn.Module,
    tokens_BSLD: Tensor,
    shift_BSFD: Tensor,
    scale_BSFD: Tensor,
    frame_L: Tensor | None = None,
) -> Tensor:
    """Normalise tokens, then scale by 1 + scale and shift, in float32; `frame_L` as in a block."""
    shift, scale = (_of_tokens(row, frame_L) for row in (shift_BSFD, scale_BSFD))
    normed = norm(tokens_BSLD.float()).unflatten(2, (shift.shape[2], -1))
    # One pass and one temporary instead of two: the largest tensors of a block outside attention.
    result = torch.addcmul(shift[:, :, :, None], normed, 1 + scale[:, :, :, None])
    return result.flatten(2, 3).type_as(tokens_BSLD)


def _gated(
    tokens_BSLD: Tensor, update_BSLD: Tensor, gate_BSFD: Tensor, frame_L: Tensor | None
) -> Tensor:
    gate = _of_tokens(gate_BSFD, frame_L)
    tokens, update = (x.unflatten(2, (gate.shape[2], -1)) for x in (tokens_BSLD, update_BSLD))
    # The gate is float32, so all of it is computed in float32, without copies of the two.
    result = torch.addcmul(tokens, update, gate[:, :, :, None])
    return result.flatten(2, 3).type_as(tokens_BSLD)


def _of_tokens(row_BSFD: Tensor, frame_L: Tensor | None) -> Tensor:
    """Give each token the row of its frame, (B, S, L, D): as if each were a frame of its own."""
    return row_BSFD if frame_L is None else row_BSFD[:, :, frame_L]


TransformerBlockRegistry.register(
    LayerT2VTransformerBlock, TransformerBlockMetadata(return_hidden_states_index=0)
)
