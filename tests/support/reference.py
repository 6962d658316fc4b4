"""Slow, obvious re-implementations that tests compare with."""

import inspect

import torch
from diffusers import WanTransformer3DModel
from diffusers.models.transformers.transformer_wan import (
    WanAttention,
    WanAttnProcessor,
    WanTimeTextImageEmbedding,
)
from torch import Tensor, nn

from layert2v_model.transformer import LayerT2VTransformer3DModel


def reference_velocity(
    model: LayerT2VTransformer3DModel,
    latents_BSCTHW: Tensor,
    timestep_BST: Tensor,
    texts: list[list[Tensor]],
    window: int | None = None,
) -> Tensor:
    """Compute the velocity with diffusers' own, unmodified forward pass.

    Streams become one long video, time and layer modulation a row per token, and each stream's
    text is read in a loop over shots and streams, without padding or masks. A window across
    streams is a dense mask.
    """
    batch_size, num_streams, _, num_frames, height, width = latents_BSCTHW.shape
    patch_frames, patch_height, patch_width = model.config.patch_size
    tokens_per_frame = (height // patch_height) * (width // patch_width)
    tokens_per_stream = num_frames // patch_frames * tokens_per_frame
    plain = _plain_model(model)
    rows_SND = _layer_rows(model, num_streams)
    plain.condition_embedder = _EmbedderWithRows(
        plain.condition_embedder, rows_SND.repeat_interleave(tokens_per_stream, dim=0)
    )
    for block in plain.blocks:
        block.attn2.set_processor(_OneStreamAtATime(texts, num_streams))
        if window is not None:
            frames = torch.arange(num_frames // patch_frames).repeat_interleave(tokens_per_frame)
            block.attn1.set_processor(_Masked(_window_mask(frames, num_streams, window)))
    video = torch.cat(list(latents_BSCTHW.unbind(1)), dim=2)
    timestep_BN = timestep_BST.reshape(batch_size, -1).repeat_interleave(tokens_per_frame, dim=1)
    unread = torch.zeros(batch_size, 1, model.config.text_dim)
    (velocity,) = plain(video, timestep_BN, unread, return_dict=False)
    return torch.stack(velocity.split(num_frames, dim=2), dim=1)


def _window_mask(frame_of_token: Tensor, num_streams: int, window: int) -> Tensor:
    """Return (S L, S L), true where a token of the row may see the token of the column."""
    instant = frame_of_token.repeat(num_streams)
    stream = torch.arange(num_streams).repeat_interleave(len(frame_of_token))
    is_own = stream[:, None] == stream
    return is_own | ((instant[:, None] - instant).abs() <= window)


def _plain_model(model: LayerT2VTransformer3DModel) -> WanTransformer3DModel:
    names = inspect.signature(WanTransformer3DModel.__init__).parameters
    plain = WanTransformer3DModel(**{k: v for k, v in model.config.items() if k in names})
    state = model.state_dict()
    plain.load_state_dict({k: v for k, v in state.items() if not k.startswith("layer_adaln.")})
    return plain.eval()


def _layer_rows(model: LayerT2VTransformer3DModel, num_streams: int) -> Tensor:
    roles = model.layer_adaln.layer_modulation
    numbers = model.layer_adaln.foreground_modulation
    rows = [roles[0], roles[1]]
    for number in range((num_streams - 2) // 2):
        own = numbers[number] if number else torch.zeros_like(roles[0])
        rows += [roles[2] + own, roles[3] + own]
    return torch.stack(rows)


class _EmbedderWithRows(nn.Module):
    def __init__(self, embedder: WanTimeTextImageEmbedding, rows_LND: Tensor) -> None:
        super().__init__()
        self.embedder = embedder
        self.rows = rows_LND.flatten(1)

    def forward(self, *args: object, **kwargs: object) -> tuple[Tensor | None, ...]:
        time, projected, text, image = self.embedder(*args, **kwargs)
        return time, projected + self.rows, text, image


class _OneStreamAtATime(WanAttnProcessor):
    def __init__(self, texts: list[list[Tensor]], num_streams: int) -> None:
        super().__init__()
        self.texts = texts
        self.num_streams = num_streams

    def __call__(self, attn: WanAttention, hidden_states: Tensor, *_: object) -> Tensor:
        shots = []
        for tokens, texts in zip(hidden_states, self.texts, strict=True):
            streams = tokens.chunk(self.num_streams)
            read = [
                super(_OneStreamAtATime, self).__call__(attn, stream[None], text[None])
                for stream, text in zip(streams, texts, strict=True)
            ]
            shots.append(torch.cat(read, dim=1))
        return torch.cat(shots)


class _Masked(WanAttnProcessor):
    def __init__(self, mask: Tensor) -> None:
        super().__init__()
        self.mask = mask

    def __call__(
        self, attn: WanAttention, tokens: Tensor, text: None, mask: None, rotary: tuple[Tensor, ...]
    ) -> Tensor:
        return super().__call__(attn, tokens, None, self.mask, rotary)
