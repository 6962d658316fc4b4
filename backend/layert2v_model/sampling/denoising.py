"""The loop: noise at t = 1 to pictures at t = 0, for all streams at once.

Shape letters: B batch, S streams, C channels, T latent frames, H, W, F frames of tokens, N tokens
of text, D width. Nothing in the loop waits for the device.
"""

from collections.abc import Sequence

import numpy as np
import torch
from diffusers import FlowMatchEulerDiscreteScheduler
from torch import Tensor

from layert2v_model.network.kept_streams import HeldStreams, held_streams
from layert2v_model.network.step_cache import is_step_cache_enabled
from layert2v_model.network.text import TextStates
from layert2v_model.network.transformer import LayerT2VTransformer3DModel
from layert2v_model.sampling.conditioning import Conditioning, tie_ends
from layert2v_model.sampling.guidance import StreamGuidance
from layert2v_model.vae.decoding import OnProgress

_NOISE = 1000.0
"""Timestep at t = 1.

Source: `LayerT2VTransformer3DModel.forward`: timesteps lie in [0, 1000].
"""


def denoise(
    transformer: LayerT2VTransformer3DModel,
    scheduler: FlowMatchEulerDiscreteScheduler,
    conditioning: Conditioning,
    text: tuple[Tensor, Tensor | None],
    guidance: StreamGuidance,
    looped: Sequence[int],
    num_steps: int,
    tell: OnProgress,
    refresh_given_every: int = 1,
) -> Tensor:
    """Integrate the flow.

    Args:
        transformer: Predicts noise - picture.
        scheduler: Its state is reset.
        conditioning: Given parts, and the noise.
        text: Token states (B, S, N, D) and their mask, one B for each kind of entry that
            `guidance` asks for.
        guidance: Scales.
        looped: Indices of streams whose first and last latent frame stay equal.
        num_steps: Number of steps, from 1.
        tell: Called before the first step and after each.
        refresh_given_every: Steps from one that computes whole given streams to the next. 1 is
            exact. Every step computes them with guidance on given parts, within a window, over
            several devices, or with the step cache.

    Returns:
        Latents (1, S, C, T, H, W), the given ones as they were given.
    """
    latents_BSCTHW = conditioning.noise_BSCTHW
    if looped:
        latents_BSCTHW = latents_BSCTHW.clone()
        latents_BSCTHW[:, looped, :, -1] = latents_BSCTHW[:, looped, :, 0]
    read = transformer.read_text(*text)
    held = None
    if can_reuse(transformer) and not guidance.hides_given:
        num_blocks = len(transformer.blocks)
        held = held_streams(conditioning.is_held_BSF, num_blocks, refresh_given_every)
    sigmas = np.linspace(1, 0, num_steps + 1)[:-1]
    scheduler.set_timesteps(sigmas=sigmas, device=latents_BSCTHW.device)
    scheduler.set_begin_index(0)  # or its first step looks the index up and waits for the device
    tell("denoising", 0, num_steps)
    for step, timestep in enumerate(scheduler.timesteps):
        latents_BSCTHW = conditioning.put(latents_BSCTHW, scheduler.sigmas[step])
        if held is not None:
            held.begin(step)
        velocity_BSCTHW = _velocity(
            transformer, latents_BSCTHW, timestep, conditioning, read, guidance, held
        )
        (latents_BSCTHW,) = scheduler.step(
            velocity_BSCTHW, timestep, latents_BSCTHW, return_dict=False
        )
        if looped:
            latents_BSCTHW = tie_ends(latents_BSCTHW, looped)
        tell("denoising", step + 1, num_steps)
    return conditioning.put(latents_BSCTHW, scheduler.sigmas[-1])


def can_reuse(transformer: LayerT2VTransformer3DModel) -> bool:
    """Say whether streams may be left out of a step at all."""
    return (
        transformer.config.cross_stream_window is None
        and transformer._parallel_config is None
        and not is_step_cache_enabled(transformer)
    )


def _velocity(
    transformer: LayerT2VTransformer3DModel,
    latents_BSCTHW: Tensor,
    timestep: Tensor,
    conditioning: Conditioning,
    text: TextStates,
    guidance: StreamGuidance,
    held: HeldStreams | None,
) -> Tensor:
    """Predict the velocity of every entry in one batch and combine them."""
    inputs_BSCTHW = latents_BSCTHW.expand(text.batch_size, -1, -1, -1, -1, -1)
    timestep_BSF = conditioning.timesteps(timestep, held=0.0).expand(text.batch_size, -1, -1)
    if guidance.hides_given:
        hidden_BSCTHW = conditioning.hide(latents_BSCTHW)
        inputs_BSCTHW = torch.cat([inputs_BSCTHW[:-1], hidden_BSCTHW])
        timestep_BSF = torch.cat([timestep_BSF[:-1], conditioning.timesteps(timestep, held=_NOISE)])
    (velocity_BSCTHW,) = transformer(
        inputs_BSCTHW, timestep_BSF, text, return_dict=False, held=held
    )
    return guidance.combine(velocity_BSCTHW.float())
