"""Peaks of a step's forward and backward pass, simulated with the program's own code.

Shape letters: B batch, S streams, C channels, T frames, H, W.
"""

from dataclasses import dataclass

import torch
from diffusers import AutoencoderKLWan
from torch import Tensor, nn

from layert2v_model.cost.estimate import ModelSize
from layert2v_model.cost.precision import default_device
from layert2v_model.network.transformer import LayerT2VTransformer3DModel
from layert2v_model.vae import codec
from layert2v_training.codecs.linear_vae import encode_pixels, set_linear
from layert2v_training.codecs.pca_codec import fit_pca
from layert2v_training.costs.batches import Batch
from layert2v_training.costs.parts import StageParts
from layert2v_training.costs.simulated import LiveBytes, fake, on_meta, simulated
from layert2v_training.learning.loop import Losses
from layert2v_training.learning.optimizers import LoopRecipe
from layert2v_training.stages.alpha_vae_training import (
    AlphaModel,
    AlphaVaeRecipe,
    alpha_loss,
    render_loss,
)
from layert2v_training.stages.decoded import DecodedLosses, picture_of
from layert2v_training.stages.joint import JointRecipe
from layert2v_training.stages.losses import add_noise, flow_matching_loss
from layert2v_training.stages.vae_training import Decoder, reconstruction_losses, signed

Shape = tuple[int, int, int]
"""Width, height and frames of a video."""

ENCODED_FRAMES = 9
"""Frames that are simulated of an encoder that works by chunks: its caches are full by then."""


@dataclass(frozen=True)
class Peaks:
    """Bytes beyond parameters, at the two moments of a step that may be its fullest."""

    early: int
    """While all activations are alive, before gradients are."""
    late: int
    """While gradients are alive, and little else."""

    def beyond_parameters(self, gradient_bytes: int, accumulation: int) -> int:
        """Return the peak. Under accumulation the gradients of other parts are there early."""
        return max(self.early + (gradient_bytes if accumulation > 1 else 0), self.late)


def joint_peaks(parts: StageParts, stage: JointRecipe, batch: Batch) -> Peaks:
    """Simulate a batch of stage 2 or 3, decoded losses included.

    Networks of one and of two blocks are simulated. The others are like the second.
    """
    num_layers = parts.num_layers
    first = _joint_peaks(parts, stage, batch, 1)
    if num_layers == 1:
        return Peaks(first.early, max(first.late, first.after))
    second = _joint_peaks(parts, stage, batch, 2)
    more = num_layers - 2
    return Peaks(
        second.early + more * (second.early - first.early),
        second.late + more * (second.after - first.after),
    )


@dataclass(frozen=True)
class _Simulated:
    early: int
    late: int
    after: int
    """Bytes after the backward pass."""


def _joint_peaks(parts: StageParts, stage: JointRecipe, batch: Batch, depth: int) -> _Simulated:
    empty = on_meta(lambda: parts.make_transformer(stage, depth))
    vaes = (on_meta(parts.make_vae), on_meta(parts.make_vae)) if stage.decoded.is_used else None
    with simulated() as live:
        model, decoded = fake(empty).train(), None
        if stage.gradient_checkpointing:
            model.enable_gradient_checkpointing()
        if vaes is not None:
            decoders = fake(vaes[0]), fake(vaes[1])
            decoded = DecodedLosses(*decoders, stage.decoded, is_premultiplied=True)
        parameters = live.restart_at_now()
        early = list[int]()

        def note(gradient: Tensor) -> None:
            # Checkpointing runs a block, and what is hooked to it, twice.
            if not early:
                early.append(live.restart())

        def mark(block: nn.Module, given: tuple[Tensor, ...]) -> None:
            if given[0].requires_grad:
                given[0].register_hook(note)

        # What comes after the gradient of the last block's input is late.
        model.blocks[-1].register_forward_pre_hook(mark)
        with simulated_autocast(stage.loop):
            losses = joint_losses(model, batch, decoded)
            total = torch.stack(list(losses.values())).sum()
        total.backward()
        late = live.restart()
    return _Simulated(
        (early[0] if early else late) - parameters, late - parameters, live.now - parameters
    )


def joint_losses(
    model: LayerT2VTransformer3DModel, batch: Batch, decoded: DecodedLosses | None
) -> Losses:
    """Compute what `joint.JointLoss` does of a batch that it has drawn."""
    clips, streams = batch.num_clips, batch.num_streams
    frames, height, width = batch.latent_THW
    config = model.config
    latents = torch.randn(clips, streams, config.in_channels, frames, height, width)
    noise = torch.randn(latents.shape)
    t_BSF = torch.rand(clips, streams, frames // config.patch_size[0])
    t_BST = t_BSF.repeat_interleave(config.patch_size[0], dim=2)
    given = torch.zeros(clips, streams, frames, 1, 1, dtype=torch.bool)
    text = torch.randn(clips, streams, batch.num_text_tokens, config.text_dim)
    mask = torch.ones(text.shape[:3], dtype=torch.bool)
    noisy = add_noise(latents, noise, t_BST)
    velocity = model(noisy, 1000 * t_BSF, text, mask, return_dict=False)[0]
    losses = {"flow": flow_matching_loss(velocity, latents, noise, given)}
    if decoded is not None:
        estimate = picture_of(noisy, velocity, t_BST[:, :, None, :, None, None])
        losses |= decoded(estimate, latents, t_BST)
    return losses


def vae_peaks(parts: StageParts, loop: LoopRecipe, batch_size: int, shape: Shape) -> Peaks:
    """Simulate a batch of the small VAE's decoder; `shape` is width, height and frames."""
    empty = on_meta(parts.make_vae)
    with simulated() as live:
        vae = fake(empty).requires_grad_(False)
        decoder = Decoder(vae).requires_grad_(True)
        parameters = live.restart_at_now()
        target = random_videos(batch_size, shape)
        latents = latents_of(vae, target)
        with simulated_autocast(loop):
            losses = reconstruction_losses(decoder(latents).float() - target)
        return _backward(live, losses, parameters)


def alpha_vae_peaks(parts: StageParts, stage: AlphaVaeRecipe, shape: Shape) -> Peaks:
    """Simulate a batch of stage 1; `shape` is width, height and frames.

    Of a long video that is decoded frame by frame, the frames after the third are like it.
    """
    width, height, num_frames = shape
    size = ModelSize({}, parts.vae_config, {})
    factor = size.temporal_factor
    more = (num_frames - 1) // factor - 2
    if factor == 1 or more <= 0:
        return _alpha_vae_peaks(parts, stage, shape)
    two, three = (_alpha_vae_peaks(parts, stage, (width, height, 1 + n * factor)) for n in (1, 2))
    return Peaks(
        three.early + more * (three.early - two.early), three.late + more * (three.late - two.late)
    )


def _alpha_vae_peaks(parts: StageParts, stage: AlphaVaeRecipe, shape: Shape) -> Peaks:
    empty = on_meta(lambda: AlphaModel(parts.make_vae(), stage))
    with simulated() as live:
        model = fake(empty)
        parameters = live.restart_at_now()
        target = random_videos(stage.batch_size, shape)[:, :1].clone()
        latents = latents_of(model.vae, target)
        with simulated_autocast(stage.loop):
            decoded = model(latents)
            losses = alpha_loss(decoded, target)
            if stage.render_weight:
                losses["render"] = render_loss(decoded, target)
        return _backward(live, losses, parameters)


def _backward(live: LiveBytes, losses: Losses, parameters: int) -> Peaks:
    torch.stack(list(losses.values())).sum().backward()
    return Peaks(live.restart() - parameters, live.now - parameters)


def fitting_peak(parts: StageParts, num_clips: int, shape: Shape) -> int:
    """Simulate fitting the small VAE's encoder to clips of four videos: bytes beyond the clips."""
    size = parts.run.recipe.vae_size
    empty = on_meta(parts.make_vae)
    with simulated() as live:
        vae = fake(empty)
        width, height, num_frames = shape
        pixels = torch.empty(4 * num_clips, 3, num_frames, height, width, dtype=torch.uint8)
        begin = live.restart_at_now()
        sample = signed(pixels)
        fit_pca(sample, (1, size.patch_size, size.patch_size), size.z_dim)
        set_linear(vae, sample)
        return live.restart() - begin


def simulated_autocast(loop: LoopRecipe) -> torch.autocast:
    """Simulate the precision of a loop."""
    is_half = loop.compute_dtype(default_device()) is torch.bfloat16
    return torch.autocast("cpu", dtype=torch.bfloat16, enabled=is_half)


def random_videos(num_videos: int, shape: Shape) -> Tensor:
    """Make videos of noise (B, 3, T, H, W) in [0, 1]; `shape` is width, height and frames."""
    width, height, num_frames = shape
    return torch.rand(num_videos, 3, num_frames, height, width)


def latents_of(vae: AutoencoderKLWan, videos: Tensor) -> Tensor:
    """Make latents of videos' size, without encoding them."""
    count, _, frames, height, width = videos.shape
    spatial = codec.spatial_factor(vae)
    shape = (codec.num_latent_frames(vae, frames), height // spatial, width // spatial)
    return torch.randn(count, vae.config.z_dim, *shape)


def encoding_peak(parts: StageParts, num_videos: int, shape: Shape) -> int:
    """Simulate encoding videos at once: bytes beyond the VAE's parameters."""
    width, height, num_frames = shape
    is_chunked = len(parts.vae_config["dim_mult"]) > 1
    simulated_frames = min(num_frames, ENCODED_FRAMES) if is_chunked else num_frames
    empty = on_meta(parts.make_vae)
    with simulated() as live, torch.no_grad():
        vae = fake(empty)
        parameters = live.restart_at_now()
        encode_pixels(vae, random_videos(num_videos, (width, height, simulated_frames)))
        peak = live.restart() - parameters
    # Of the frames that were left out: pixels, twice them, and that less one.
    pixels = num_videos * 3 * 4 * width * height
    return peak + 3 * pixels * (num_frames - simulated_frames)
