"""Slow, obvious re-implementations that tests compare with."""

import inspect

import numpy as np
import torch
from diffusers import WanTransformer3DModel
from diffusers.models.transformers.transformer_wan import (
    WanAttention,
    WanAttnProcessor,
    WanTimeTextImageEmbedding,
)
from torch import Tensor, nn

from layert2v_model.network.transformer import LayerT2VTransformer3DModel
from layert2v_model.pipeline import LayerT2VPipeline
from layert2v_model.shot import ShotPrompts
from layert2v_model.streams import batch_stream_text, noise_seed, stream_names, stream_text
from layert2v_model.vae.codec import num_latent_frames, spatial_factor


def reference_velocity(
    model: LayerT2VTransformer3DModel,
    latents_BSCTHW: Tensor,
    timestep_BST: Tensor,
    texts: list[list[Tensor]],
    window: int | None = None,
) -> Tensor:
    """Compute the velocity with diffusers' own, unmodified forward pass.

    Streams become one long video, and time and layer modulation a row per token. Each stream's text
    is read in a loop over shots and streams, without padding or masks. A window across streams is a
    dense mask.
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
    """Return (S L, S L), which is true if a row's token may see the column's token."""
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


@torch.inference_mode()
def reference_latents(
    pipeline: LayerT2VPipeline,
    prompts: ShotPrompts,
    seed: int,
    num_inference_steps: int,
    guidance_scale: float,
    frames_THW: tuple[int, int, int],
) -> dict[str, Tensor]:
    """Denoise a shot without given streams, in one plain loop with one scale for all streams."""
    names = stream_names(len(prompts.foregrounds))
    latents_BSCTHW = torch.stack([_noise(pipeline, name, seed, frames_THW) for name in names], 1)
    states = {name: pipeline.encode_prompt(text) for name, text in prompts.by_name().items()}
    visibility = pipeline.transformer.config.prompt_visibility
    negative_ND = pipeline.encode_prompt(prompts.negative)
    wanted = stream_text(states, visibility, len(prompts.foregrounds))
    text, mask = batch_stream_text([wanted, (negative_ND,) * len(names)])
    sigmas = np.linspace(1, 0, num_inference_steps + 1)[:-1]
    pipeline.scheduler.set_timesteps(sigmas=sigmas, device="cpu")
    for timestep in pipeline.scheduler.timesteps:
        both = latents_BSCTHW.expand(2, -1, -1, -1, -1, -1)
        timestep_BS1 = timestep.expand(2, len(names), 1)
        (velocity,) = pipeline.transformer(both, timestep_BS1, text, mask, return_dict=False)
        with_text, without = velocity.chunk(2)
        velocity = without + guidance_scale * (with_text - without)
        (latents_BSCTHW,) = pipeline.scheduler.step(
            velocity, timestep, latents_BSCTHW, return_dict=False
        )
    return dict(zip(names, latents_BSCTHW.unbind(1), strict=True))


def _noise(
    pipeline: LayerT2VPipeline, name: str, seed: int, frames_THW: tuple[int, int, int]
) -> Tensor:
    num_frames, height, width = frames_THW
    factor = spatial_factor(pipeline.vae)
    latents = num_latent_frames(pipeline.vae, num_frames)
    shape = (1, pipeline.vae.config.z_dim, latents, height // factor, width // factor)
    generator = torch.Generator("cpu").manual_seed(noise_seed(seed, name))
    return torch.randn(shape, generator=generator)
