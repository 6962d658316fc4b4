"""Two processors that flatten streams around the library's Wan attention.

Shape letters: B batch, S streams, L visual tokens of a stream, N text tokens, D width.
"""

from diffusers.models.transformers.transformer_wan import WanAttention, WanAttnProcessor
from einops import rearrange
from torch import Tensor, nn
from torch.nn.functional import rms_norm

Rotary = tuple[Tensor, Tensor]
"""Cosines and sines, each (1, S, L, 1, head width)."""


class QueryKeyNorm(nn.RMSNorm):
    """RMS norm whose weight follows its input, so that autocast keeps the fused kernel."""

    def forward(self, x: Tensor) -> Tensor:
        """Normalise over the last axis."""
        assert self.weight is not None
        return rms_norm(x, self.normalized_shape, self.weight.to(x.dtype), self.eps)


class JointSelfAttnProcessor(WanAttnProcessor):
    """Attend over all tokens of all streams at once, as released."""

    def __call__(
        self,
        attn: WanAttention,
        hidden_states: Tensor,
        encoder_hidden_states: Tensor | None = None,
        attention_mask: Tensor | None = None,
        rotary_emb: Rotary | None = None,
    ) -> Tensor:
        """Map tokens (B, S, L, D) to the same shape."""
        assert rotary_emb is not None
        num_streams = hidden_states.shape[1]
        rotary = tuple(rearrange(table, "b s l h d -> b (s l) h d") for table in rotary_emb)
        joint_BLD = rearrange(hidden_states, "b s l d -> b (s l) d")
        out_BLD = super().__call__(attn, joint_BLD, None, None, rotary)
        return rearrange(out_BLD, "b (s l) d -> b s l d", s=num_streams)


class StreamCrossAttnProcessor(WanAttnProcessor):
    """Let each stream read its own text; no mask over visual tokens is ever built."""

    def __call__(
        self,
        attn: WanAttention,
        hidden_states: Tensor,
        encoder_hidden_states: Tensor | None = None,
        attention_mask: Tensor | None = None,
        rotary_emb: Rotary | None = None,
    ) -> Tensor:
        """Map tokens (B, S, L, D) to the same shape.

        Args:
            attn: The block's cross-attention.
            hidden_states: Visual tokens (B, S, L, D).
            encoder_hidden_states: Text (B, S, N, D).
            attention_mask: None, or a boolean (B, S, N), true on real text tokens.
            rotary_emb: Not used: text has no position.
        """
        assert encoder_hidden_states is not None
        batch_size = hidden_states.shape[0]
        visual_BLD = rearrange(hidden_states, "b s l d -> (b s) l d")
        text_BND = rearrange(encoder_hidden_states, "b s n d -> (b s) n d")
        if attention_mask is not None:
            attention_mask = rearrange(attention_mask, "b s n -> (b s) 1 1 n")
        out_BLD = super().__call__(attn, visual_BLD, text_BND, attention_mask, None)
        return rearrange(out_BLD, "(b s) l d -> b s l d", b=batch_size)
