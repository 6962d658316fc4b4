"""The time of a step of the small VAE or of stage 1. One video is timed, and multiplied."""

import math
from collections.abc import Callable

import torch
from torch import Tensor, nn

from layert2v_model.cost.estimate import ModelSize, decode_flops
from layert2v_model.shot import ShotFormat
from layert2v_training.costs.parts import StageParts
from layert2v_training.costs.passes import Shape, latents_of, random_videos
from layert2v_training.costs.timing import (
    SMALLEST,
    Timing,
    affordable_flops,
    backward,
    fastest,
    time_update,
)
from layert2v_training.learning.loop import Losses, autocast
from layert2v_training.learning.optimizers import LoopRecipe
from layert2v_training.stages.alpha_vae_training import AlphaModel, alpha_loss, render_loss
from layert2v_training.stages.vae_training import Decoder, reconstruction_losses


def time_vae(parts: StageParts, device: torch.device) -> Timing:
    """Time a step of the small VAE's decoder."""
    recipe = parts.run.recipe
    with device:
        vae = parts.make_vae().requires_grad_(False)
    decoder = Decoder(vae).requires_grad_(True)

    def losses_of(videos: Tensor) -> Losses:
        return reconstruction_losses(decoder(latents_of(vae, videos)).float() - videos)

    return _time_decoder(parts, decoder, losses_of, recipe.vae, recipe.vae_batch_size, device)


def time_alpha_vae(parts: StageParts, device: torch.device) -> Timing:
    """Time a step of stage 1."""
    stage = parts.run.recipe.alpha_vae
    with device:
        model = AlphaModel(parts.make_vae(), stage)

    def losses_of(videos: Tensor) -> Losses:
        decoded, target = model(latents_of(model.vae, videos)), videos[:, :1]
        losses = alpha_loss(decoded, target)
        if stage.render_weight:
            losses["render"] = render_loss(decoded, target)
        return losses

    return _time_decoder(parts, model, losses_of, stage.loop, stage.batch_size, device)


def _time_decoder(
    parts: StageParts,
    model: nn.Module,
    losses_of: Callable[[Tensor], Losses],
    loop: LoopRecipe,
    batch_size: int,
    device: torch.device,
) -> Timing:
    whole, most_flops = parts.vae_shape, affordable_flops(device, loop)
    shape = _smaller(parts, whole, most_flops)
    count = min(batch_size, max(2, int(most_flops / _flops(parts, shape))))

    def work(num_videos: int) -> None:
        with device, autocast(device, loop):
            losses = losses_of(random_videos(num_videos, shape))
        backward(losses)

    seconds = fastest(lambda: work(count), device)
    if count < batch_size:
        # A part of a pass is the same for any number of videos: weights, and their gradients.
        alone = fastest(lambda: work(1), device)
        seconds += (batch_size - count) * max(0.0, seconds - alone) / (count - 1)
    scale = loop.gradient_accumulation * math.prod(whole) / math.prod(shape)
    words = f"{count} videos of {'x'.join(map(str, shape))} were timed"
    is_all = count == batch_size and shape == whole
    return Timing(
        scale * seconds + time_update(model, loop, device),
        words if is_all else f"{words}, of {batch_size} of {'x'.join(map(str, whole))}",
    )


def _smaller(parts: StageParts, shape: Shape, most_flops: float) -> Shape:
    """Halve a video's sides until decoding it takes few enough multiplications."""
    factor = ModelSize({}, parts.vae_config, {}).spatial_factor
    width, height, length = shape
    least = 2 * SMALLEST * factor
    while _flops(parts, (width, height, length)) > most_flops and min(width, height) >= least:
        width, height = width // 2 // factor * factor, height // 2 // factor * factor
    return width, height, length


def _flops(parts: StageParts, shape: Shape) -> float:
    """Count decoding a video."""
    shot = ShotFormat(*shape, 1, 1)
    size = ModelSize({"patch_size": (1, 1, 1)}, parts.vae_config, {})
    return decode_flops(shot, size) / shot.num_streams
