"""The time of a step of stages 2 and 3 on this machine. One block is timed, and multiplied.

The block runs forward and backward in the run's precision, on as many clips and frames as take
about a second. The rest of the batch is added by its multiplications. Decoded losses and the
optimizer are timed too.
"""

import math
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import scaled_dot_product_attention
from torch.utils.checkpoint import checkpoint

from layert2v_model.cost.estimate import ModelSize, decode_flops
from layert2v_model.network.transformer import LayerT2VTransformer3DModel
from layert2v_model.shot import ShotFormat
from layert2v_training.costs.batches import Batch, batches
from layert2v_training.costs.parts import StageParts, trained_of
from layert2v_training.costs.passes import joint_losses
from layert2v_training.costs.timing import (
    SMALLEST,
    Timing,
    affordable_flops,
    backward,
    fastest,
    time_update,
)
from layert2v_training.learning.loop import autocast
from layert2v_training.stages.decoded import DecodedLosses
from layert2v_training.stages.joint import JointRecipe


def time_joint(parts: StageParts, stage: str, device: torch.device) -> Timing:
    """Time a step of a stage of the transformer; a few seconds, and the memory of one block."""
    recipe = parts.run.stage(stage)
    with device:
        model = parts.make_transformer(recipe, 1).train()
    if recipe.gradient_checkpointing:
        model.enable_gradient_checkpointing()
    num_layers = parts.num_layers
    size = ModelSize({**model.config, "num_layers": 1}, parts.vae_config, {})
    foregrounds, shapes = parts.foregrounds(stage), parts.run.clips_per_shape
    drawn = list(batches(recipe, size, shapes, foregrounds))
    most_flops, seconds, words = affordable_flops(device, recipe.loop), 0.0, list[str]()
    for is_windowed in (False, True):
        kind = [(batch, share) for batch, share in drawn if batch.is_windowed == is_windowed]
        if not kind:
            continue
        typical = max(kind, key=lambda pair: pair[1])[0]
        timed = _cut(typical, size, most_flops)
        times = _time_network(model, timed, recipe, device)
        seconds += sum(share * times.of(batch, num_layers, size) for batch, share in kind)
        words.append(_said(timed, typical))
    seconds += _time_decoded(parts, recipe, drawn[0][0], most_flops, device)
    share = trained_of(model.blocks) / max(trained_of(model), 1)
    update = time_update(model, recipe.loop, device) * (1 + (num_layers - 1) * share)
    return Timing(
        recipe.loop.gradient_accumulation * seconds + update,
        f"one of {num_layers} blocks was timed on {' and on '.join(words)}",
    )


@dataclass(frozen=True)
class _Times:
    """Seconds of a forward and a backward pass of a batch."""

    batch: Batch
    network: float
    """Seconds of one block and of everything outside of blocks."""
    block: float
    """Seconds of the block alone."""
    attention: float
    """Seconds of its self-attention alone, which grows with the square of the tokens."""

    def of(self, batch: Batch, num_layers: int, size: ModelSize) -> float:
        """Say what another batch takes in a network of so many blocks; `size` is of one block."""
        attention = batch.self_attention_flops(size) / self.batch.self_attention_flops(size)
        rest = (batch.flops(size) - batch.self_attention_flops(size)) / (
            self.batch.flops(size) - self.batch.self_attention_flops(size)
        )
        others = self.network + (num_layers - 1) * self.block - num_layers * self.attention
        return rest * others + attention * num_layers * self.attention


def _cut(batch: Batch, size: ModelSize, most_flops: float) -> Batch:
    """Leave clips, then frames, then rows and columns out until a pass takes few enough."""

    def fits(smaller: Batch) -> bool:
        return smaller.flops(size) <= most_flops

    one = batch.flops(size) / batch.num_clips
    cut = replace(batch, num_clips=min(batch.num_clips, max(1, int(most_flops / one))))
    frames, *patch = size.transformer["patch_size"]
    while not fits(cut) and cut.latent_THW[0] >= 2 * frames:
        length, height, width = cut.latent_THW
        cut = replace(cut, latent_THW=(length // 2 // frames * frames, height, width))
    while not fits(cut) and min(cut.latent_THW[1:]) >= 2 * SMALLEST:
        length, *sides = cut.latent_THW
        height, width = (n // 2 // p * p for n, p in zip(sides, patch, strict=True))
        cut = replace(cut, latent_THW=(length, height, width))
    return cut


def _said(timed: Batch, typical: Batch) -> str:
    frames, height, width = timed.latent_THW
    clips = f"{timed.num_clips} clip{'s' if timed.num_clips > 1 else ''}"
    size = f"{clips} of {timed.num_streams} streams, {width}x{height}x{frames} latents"
    return size if timed == typical else f"{size} (of {typical.num_clips} clips)"


def _time_network(
    model: LayerT2VTransformer3DModel, batch: Batch, recipe: JointRecipe, device: torch.device
) -> _Times:
    """Time a pass of a network of one block, of that block, and of its attention."""
    given = list[tuple[Any, ...]]()
    (only,) = model.blocks
    hook = only.register_forward_pre_hook(lambda block, args: given.append(args))

    def network() -> None:
        with device, autocast(device, recipe.loop):
            losses = joint_losses(model, batch, None)
        backward(losses)

    first = fastest(network, device)
    hook.remove()
    arguments = tuple(_leaf(argument) for argument in given[-1])

    def block() -> None:
        with autocast(device, recipe.loop):
            if recipe.gradient_checkpointing:
                made = checkpoint(only, *arguments, use_reentrant=False)
            else:
                made = only(*arguments)
        made.backward(torch.ones_like(made))

    whole = fastest(block, device)
    # What a timing is wrong by must not make the rest of a block faster than nothing.
    attention = min(_time_attention(model, batch, recipe, device), 0.9 * min(first, whole))
    return _Times(batch, first, whole, attention)


def _time_attention(
    model: LayerT2VTransformer3DModel, batch: Batch, recipe: JointRecipe, device: torch.device
) -> float:
    """Time the product of queries, keys and values of all streams."""
    patch = math.prod(model.config.patch_size)
    num_tokens = batch.num_latents // batch.num_clips // patch
    heads, width = model.config.num_attention_heads, model.config.attention_head_dim
    dtype = recipe.loop.compute_dtype(device)
    query, key, value = (
        torch.randn(
            batch.num_clips, heads, num_tokens, width,
            device=device, dtype=dtype, requires_grad=True,
        )
        for _ in range(3)
    )  # fmt: skip

    def attend() -> None:
        if recipe.gradient_checkpointing:
            with torch.no_grad():
                scaled_dot_product_attention(query, key, value)
        made = scaled_dot_product_attention(query, key, value)
        made.backward(torch.ones_like(made))

    return fastest(attend, device)


def _leaf(argument: Any) -> Any:
    """Cut what a block was given off the graph. In the middle of a network its tokens learn."""
    if isinstance(argument, tuple):
        return tuple(map(_leaf, argument))
    if not isinstance(argument, Tensor):
        return argument
    is_number = argument.is_floating_point()
    is_rotary = is_number and not argument.requires_grad and argument.ndim == 5
    return argument.detach().requires_grad_(is_number and not is_rotary)


def _time_decoded(
    parts: StageParts, recipe: JointRecipe, batch: Batch, most_flops: float, device: torch.device
) -> float:
    """Time the losses of pixels on a part of the picture."""
    if not recipe.decoded.is_used:
        return 0.0
    with device:
        vae = parts.make_vae()
    losses = DecodedLosses(vae, vae, recipe.decoded, is_premultiplied=True)
    size = ModelSize({"patch_size": (1, 1, 1)}, parts.vae_config, {})
    frames = min(recipe.decoded.num_latent_frames, batch.latent_THW[0])
    clips = min(recipe.decoded.num_clips, batch.num_clips)
    height, width = batch.latent_THW[1:]

    def flops(rows: int, columns: int) -> float:
        factor = size.spatial_factor
        length = 1 + (frames - 1) * size.temporal_factor
        shot = ShotFormat(columns * factor, rows * factor, length, batch.num_foregrounds, 1)
        return decode_flops(shot, size)

    rows, columns = height, width
    while flops(rows, columns) > most_flops and min(rows, columns) >= 2 * SMALLEST:
        rows, columns = rows // 2, columns // 2
    shape = (1, batch.num_streams, vae.config.z_dim, frames, rows, columns)

    def work() -> None:
        estimate, truth = (torch.randn(shape, device=device) for _ in range(2))
        levels = torch.rand((*shape[:2], frames), device=device)
        with autocast(device, recipe.loop):
            found = losses(estimate.requires_grad_(), truth, levels)
        backward(found)

    return fastest(work, device) * clips * height * width / (rows * columns)
