"""Two processors around the library's Wan attention: joint over streams, and each stream's text.

Shape letters: B batch, S streams, L visual tokens of a stream, F frames of tokens, P tokens of one
frame, N text tokens, D width, A heads, E width of a head.
"""

from diffusers.models.attention_dispatch import dispatch_attention_fn
from diffusers.models.embeddings import apply_rotary_emb
from diffusers.models.transformers.transformer_wan import (
    WanAttention,
    WanAttnProcessor,
    _get_qkv_projections,
)
from einops import rearrange
from torch import Tensor, nn
from torch.nn.functional import rms_norm

from layert2v_model.network.kept_streams import BlockMemory
from layert2v_model.network.window import FrameWindow, attend_windowed

Rotary = tuple[Tensor, Tensor]
"""Cosines and sines, each (1, S, L, 1, head width)."""

KeyValue = tuple[Tensor, Tensor]
"""Keys, normalised, and values of each stream's text, each (B, S, N, D)."""


class QueryKeyNorm(nn.RMSNorm):
    """RMS norm whose weight follows its input, so that autocast keeps the fused kernel."""

    def forward(self, x: Tensor) -> Tensor:
        """Normalise over the last axis."""
        assert self.weight is not None
        return rms_norm(x, self.normalized_shape, self.weight.to(x.dtype), self.eps)


class JointSelfAttnProcessor(WanAttnProcessor):
    """Attend over all tokens of all streams at once, as released, or within a window."""

    def __call__(
        self,
        attn: WanAttention,
        hidden_states: Tensor,
        encoder_hidden_states: Tensor | None = None,
        attention_mask: Tensor | None = None,
        rotary_emb: Rotary | None = None,
        window: FrameWindow | None = None,
        memory: BlockMemory | None = None,
    ) -> Tensor:
        """Map tokens (B, S, L, D) to the same shape.

        Args:
            attn: The block's self-attention.
            hidden_states: Tokens (B, S, L, D), a stream's frames one after another.
            encoder_hidden_states: Not used.
            attention_mask: Not used: no mask over visual tokens is ever built.
            rotary_emb: Cosines and sines.
            window: None: every token sees every token.
            memory: Memory of streams that are not computed in every step; not with a window.

        Raises:
            ValueError: A window is asked for under context parallel.
        """
        assert rotary_emb is not None
        num_streams = hidden_states.shape[1]
        rotary = tuple(rearrange(table, "b s l h d -> b (s l) h d") for table in rotary_emb)
        joint_BLD = rearrange(hidden_states, "b s l d -> b (s l) d")
        if window is not None:
            return self._windowed(attn, joint_BLD, rotary, num_streams, window)
        if memory is not None:
            return self._remembering(attn, joint_BLD, rotary, num_streams, memory)
        out_BLD = super().__call__(attn, joint_BLD, None, None, rotary)
        return rearrange(out_BLD, "b (s l) d -> b s l d", s=num_streams)

    def _windowed(
        self,
        attn: WanAttention,
        joint_BLD: Tensor,
        rotary: tuple[Tensor, ...],
        num_streams: int,
        window: FrameWindow,
    ) -> Tensor:
        if self._parallel_config is not None:
            raise ValueError(
                "cross_stream_window does not work with context parallel; load with "
                "cross_stream_window=None, or use one device"
            )
        query_BSFPAE, key_BSFPAE, value_BSFPAE = (
            rearrange(x, "b (s f p) a e -> b s f p a e", s=num_streams, f=window.num_frames)
            for x in _by_heads(attn, joint_BLD, rotary)
        )
        out_BSFPAE = attend_windowed(
            query_BSFPAE, key_BSFPAE, value_BSFPAE, window, self._attention_backend
        )
        out_BSLD = rearrange(out_BSFPAE, "b s f p a e -> b s (f p) (a e)")
        return attn.to_out[1](attn.to_out[0](out_BSLD.type_as(query_BSFPAE)))

    def _remembering(
        self,
        attn: WanAttention,
        joint_BLD: Tensor,
        rotary: tuple[Tensor, ...],
        num_streams: int,
        memory: BlockMemory,
    ) -> Tensor:
        query, key, value = _by_heads(attn, joint_BLD, rotary)
        key, value = memory.joined(key, value, num_streams)
        out_BLAE = dispatch_attention_fn(query, key, value, backend=self._attention_backend)
        out_BLD = attn.to_out[1](attn.to_out[0](out_BLAE.flatten(2).type_as(query)))
        return rearrange(out_BLD, "b (s l) d -> b s l d", s=num_streams)


def _by_heads(
    attn: WanAttention, joint_BLD: Tensor, rotary: tuple[Tensor, ...]
) -> tuple[Tensor, Tensor, Tensor]:
    """Make queries and keys, normalised and rotated, and values: (B, L, A, E) each."""
    query, key, value = _get_qkv_projections(attn, joint_BLD, None)
    return (
        _rotated(attn.norm_q(query), attn.heads, rotary),
        _rotated(attn.norm_k(key), attn.heads, rotary),
        value.unflatten(-1, (attn.heads, -1)),
    )


def _rotated(projected_BLD: Tensor, num_heads: int, rotary: tuple[Tensor, ...]) -> Tensor:
    heads_BLAE = projected_BLD.unflatten(-1, (num_heads, -1))
    cos_LE, sin_LE = (table[0, :, 0] for table in rotary)
    return apply_rotary_emb(heads_BLAE, (cos_LE, sin_LE), sequence_dim=1)


class StreamCrossAttnProcessor(WanAttnProcessor):
    """Let each stream read its own text. No mask over visual tokens is ever built."""

    def __call__(
        self,
        attn: WanAttention,
        hidden_states: Tensor,
        encoder_hidden_states: Tensor | KeyValue | None = None,
        attention_mask: Tensor | None = None,
        rotary_emb: Rotary | None = None,
    ) -> Tensor:
        """Map tokens (B, S, L, D) to the same shape.

        Args:
            attn: The block's cross-attention.
            hidden_states: Visual tokens (B, S, L, D).
            encoder_hidden_states: Text (B, S, N, D), or what `text_key_value` made of it.
            attention_mask: None, or a boolean (B, S, N), true on real text tokens.
            rotary_emb: Not used: text has no position.
        """
        assert encoder_hidden_states is not None
        if isinstance(encoder_hidden_states, Tensor):
            encoder_hidden_states = text_key_value(attn, encoder_hidden_states)
        batch_size = hidden_states.shape[0]
        query = attn.norm_q(attn.to_q(rearrange(hidden_states, "b s l d -> (b s) l d")))
        key, value = (rearrange(x, "b s n d -> (b s) n d") for x in encoder_hidden_states)
        if attention_mask is not None:
            attention_mask = rearrange(attention_mask, "b s n -> (b s) 1 1 n")
        out_BLAE = dispatch_attention_fn(
            *(x.unflatten(-1, (attn.heads, -1)) for x in (query, key, value)),
            attn_mask=attention_mask,
            backend=self._attention_backend,
        )
        out_BLD = attn.to_out[1](attn.to_out[0](out_BLAE.flatten(2).type_as(query)))
        return rearrange(out_BLD, "(b s) l d -> b s l d", b=batch_size)


def text_key_value(attn: WanAttention, text: Tensor) -> KeyValue:
    """Make a cross-attention's keys, normalised, and values of text (..., N, D)."""
    if attn.fused_projections:
        key, value = attn.to_kv(text).chunk(2, dim=-1)
    else:
        key, value = attn.to_k(text), attn.to_v(text)
    return attn.norm_k(key), value
