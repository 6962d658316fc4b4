"""Teach both decoders the transformer's own latents, after stage 3.

    layert2v-train decoders --assets cache/assets --out runs/tiny

A decoder that knows only the encoder's latents shows every fault of the transformer, such as seams
between tokens and specks. So single frames of clips are noised part of the way and made again by
the trained transformer. They still show the clip, and carry the transformer's errors. Encoders and
`project_in` stay as they are, and with them every latent. For the small VAE, whose frames are
encoded alone; its decoders then decode them alone too. The transformer never saw soft mattes and
would harden them, so they are learned from the encoder's latents.

Shape letters: B batch, M videos, S streams, C channels, H, W; one frame everywhere.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import torch
from diffusers import AutoencoderKLWan
from diffusers.models.autoencoders.autoencoder_kl_wan import WanCausalConv3d
from einops import rearrange
from numpy.typing import NDArray
from torch import Tensor, nn
from tqdm import tqdm

from layert2v_model.network.transformer import LayerT2VTransformer3DModel
from layert2v_model.streams import batch_stream_text
from layert2v_model.vae.alpha_vae import ProjectIn
from layert2v_training.cache.captions import CaptionStates
from layert2v_training.cache.latents import LatentClip, videos_of
from layert2v_training.cache.workers import make_in_workers
from layert2v_training.codecs.linear_vae import encode_pixels
from layert2v_training.data.clips import ClipSource, Pixels
from layert2v_training.learning.loop import Losses, autocast, train
from layert2v_training.learning.optimizers import LoopRecipe
from layert2v_training.number_kinds import Count, Share, WholeNumber
from layert2v_training.stages.alpha_vae_training import alpha_loss
from layert2v_training.stages.joint import clip_text, full_caption, pad_text
from layert2v_training.stages.losses import add_noise
from layert2v_training.stages.vae_training import Decoder, reconstruction_losses

HELD_OUT = 64
"""Frames that are measured and not learned."""
HEADROOM = 0.25
"""Distance beyond black and white that a decoder may go, of pixels in [-1, 1]."""


@dataclass(frozen=True)
class DecodersRecipe:
    """A recipe of the decoders' training."""

    loop: LoopRecipe = field(
        default_factory=lambda: LoopRecipe(num_steps=1000, learning_rate=1.5e-3, ema_decay=0.98)
    )
    """Length and speed of the training of each of the two decoders."""
    batch_size: Count = 24
    """Frames of one stream."""
    num_clips: Count = 500
    num_soft_clips: WholeNumber = 120
    """Composed clips with soft mattes, which are not made again."""
    frames_per_clip: Count = 3
    levels: tuple[Share, Share] = (0.2, 0.7)
    """Lowest and highest t to which frames are noised, evenly."""
    num_inference_steps: Count = 4
    """Steps in which they are made again."""
    exact_share: Share = 0.25
    """Share of a batch that are the encoder's latents, so that given pixels come back as before."""


@dataclass(frozen=True, eq=False)
class Frames:
    """Frames of one kind of stream: what they show, and two versions of their latents."""

    pixels_M3HW: Tensor
    """uint8, display-referred sRGB; foregrounds filled as `videos_of` says, a matte three times."""
    exact_MCHW: Tensor
    """The encoder's, normalised, alphas through `project_in`; half precision."""
    made_MCHW: Tensor
    """The transformer's; half precision."""

    def part(self, first: int, end: int | None) -> "Frames":
        """Return the frames from `first` up to `end`."""
        return Frames(
            self.pixels_M3HW[first:end], self.exact_MCHW[first:end], self.made_MCHW[first:end]
        )


@dataclass(frozen=True)
class _FrameTaker:
    """Takes some frames of a clip: uint8 (frames, S, 3, H, W), and its captions."""

    source: ClipSource
    count: int
    fill: str

    def __call__(self, index: int) -> tuple[NDArray[np.uint8], LatentClip]:
        clip = self.source.clip(index)
        num_frames = len(clip.full_THWC)
        count = min(self.count, num_frames)
        chosen = np.random.default_rng(index).choice(num_frames, count, replace=False)
        videos: list[Pixels] = videos_of(clip, self.fill)
        stacked = np.stack([video[chosen] for video in videos], axis=1)
        pixels = (rearrange(stacked, "f s h w c -> f s c h w") * 255 + 0.5).astype(np.uint8)
        captions = tuple(layer.caption for layer in clip.foregrounds)
        # This adds its words only. The latents come from all frames of a batch at once.
        said = LatentClip(torch.empty(0), clip.background_caption, captions, clip.full_caption)
        return pixels, said


class FrameMaker:
    """Makes clips' frames again with a trained transformer."""

    def __init__(
        self,
        model: LayerT2VTransformer3DModel,
        vae: AutoencoderKLWan,
        project_in: ProjectIn,
        captions: CaptionStates,
        recipe: DecodersRecipe,
    ) -> None:
        self.model, self.vae, self.project_in = model.eval(), vae, project_in
        self.captions, self.recipe = captions, recipe

    def frames(
        self,
        source: ClipSource,
        num_clips: int,
        num_workers: int = 0,
        *,
        are_made_again: bool = True,
    ) -> tuple[Frames, Frames]:
        """Take a source's first clips. Return frames of colour and of mattes.

        Draws levels and noise from PyTorch's generator.

        Args:
            source: Source of clips.
            num_clips: Number of clips.
            num_workers: Processes that draw them; 0: this one.
            are_made_again: False: `made_MCHW` holds the encoder's latents too.

        Raises:
            Exception: Whatever the source raises for a clip.
        """
        fill = self.model.config.foreground_fill
        taker = _FrameTaker(source, self.recipe.frames_per_clip, fill)
        taken = make_in_workers(taker, range(num_clips), num_workers)
        taken = iter(tqdm(taken, "frames", num_clips, mininterval=10, ascii=True))
        colours, mattes = list[Frames](), list[Frames]()
        for batch in _batches(taken, self.recipe.batch_size):
            pixels_BS3HW, said = batch
            exact = self._encoded(pixels_BS3HW)
            made = self._made_again(exact, *self._text(said)) if are_made_again else exact
            parts = (pixels_BS3HW, _stored(exact), _stored(made))
            of_colour = [0, 1, *range(2, pixels_BS3HW.shape[1], 2)]
            colours.append(Frames(*(x[:, of_colour].flatten(0, 1) for x in parts)))
            mattes.append(Frames(*(x[:, 3::2].flatten(0, 1) for x in parts)))
        return join_frames(colours), join_frames(mattes)

    @torch.no_grad()
    def _encoded(self, pixels_BS3HW: Tensor) -> Tensor:
        rows = pixels_BS3HW.to(self.model.device).flatten(0, 1)[:, :, None].float() / 255
        exact = encode_pixels(self.vae, rows).unflatten(0, (len(pixels_BS3HW), -1))
        alphas = self.project_in(exact[:, 3::2].flatten(0, 1))
        exact[:, 3::2] = alphas.unflatten(0, (len(pixels_BS3HW), -1))
        return exact

    def _text(self, said: Sequence[LatentClip]) -> tuple[Tensor, Tensor]:
        heard = {c for clip in said for c in (clip.background_caption, *clip.foreground_captions)}
        self.captions.encode(heard | {full_caption(clip) for clip in said})
        visibility = self.model.config.prompt_visibility
        texts = [clip_text(clip, self.captions, visibility, is_dropped=False) for clip in said]
        text_BSND, mask_BSN = pad_text(*batch_stream_text(texts))
        return text_BSND.to(self.model.device), mask_BSN.to(self.model.device)

    @torch.no_grad()
    def _made_again(self, exact_BSC1HW: Tensor, text: Tensor, mask: Tensor) -> Tensor:
        """Noise to a level and integrate the velocity back to 0 in even steps."""
        low, high = self.recipe.levels
        level_B11 = low + (high - low) * torch.rand(len(exact_BSC1HW), 1, 1)
        level_BS1 = level_B11.expand(-1, exact_BSC1HW.shape[1], -1).to(exact_BSC1HW.device)
        noise = torch.randn(exact_BSC1HW.shape).to(exact_BSC1HW.device)
        x = add_noise(exact_BSC1HW, noise, level_BS1)
        count = self.recipe.num_inference_steps
        for step in range(count):
            t_BS1 = level_BS1 * (1 - step / count)
            with autocast(self.model.device, self.recipe.loop):
                velocity = self.model(x, 1000 * t_BS1, text, mask, return_dict=False)[0]
            x = x - (level_BS1 / count)[..., None, None, None] * velocity.float()
        return x


def _stored(latents_BSC1HW: Tensor) -> Tensor:
    return latents_BSC1HW[:, :, :, 0].to("cpu", torch.float16)


def _batches(
    taken: Iterator[tuple[NDArray[np.uint8], LatentClip]], size: int
) -> Iterator[tuple[Tensor, list[LatentClip]]]:
    """Collect frames of clips with equally many foregrounds."""
    waiting: dict[int, list[tuple[Tensor, LatentClip]]] = {}
    for pixels, said in taken:
        group = waiting.setdefault(pixels.shape[1], [])
        group += [(frame, said) for frame in torch.from_numpy(pixels)]
        while len(group) >= size:
            part, group[:] = group[:size], group[size:]
            yield torch.stack([frame for frame, _ in part]), [clip for _, clip in part]
    for group in waiting.values():
        if group:
            yield torch.stack([frame for frame, _ in group]), [clip for _, clip in group]


def join_frames(parts: Sequence[Frames]) -> Frames:
    """Put frames of one size behind each other."""
    return Frames(
        torch.cat([part.pixels_M3HW for part in parts]),
        torch.cat([part.exact_MCHW for part in parts]),
        torch.cat([part.made_MCHW for part in parts]),
    )


@torch.no_grad()
def forget_past(decoder: nn.Module) -> None:
    """Make every causal convolution see its own frame only, so that single frames teach it all."""
    for conv in decoder.modules():
        if isinstance(conv, WanCausalConv3d):
            conv.weight[:, :, :-1] = 0


class FrameLoss:
    """The loss of a decoder on frames, with batches drawn from PyTorch's generator."""

    def __init__(
        self, frames: Frames, recipe: DecodersRecipe, patch_size: int, *, is_matte: bool
    ) -> None:
        self.frames, self.recipe = frames, recipe
        self.patch_size, self.is_matte = patch_size, is_matte

    def __call__(self, called: nn.Module, step: int) -> Losses:
        """Decode a batch and compare it with what it shows."""
        device = next(called.parameters()).device
        chosen = torch.randint(len(self.frames.pixels_M3HW), (self.recipe.batch_size,))
        is_exact_B = torch.rand(len(chosen)) < self.recipe.exact_share
        latents = torch.where(
            is_exact_B[:, None, None, None],
            self.frames.exact_MCHW[chosen],
            self.frames.made_MCHW[chosen],
        )
        target = self.frames.pixels_M3HW[chosen].to(device).float()[:, :, None] / 127.5 - 1
        decoded = called(latents.to(device).float()[:, :, None])
        if self.is_matte:
            decoded, target = decoded.mean(1, keepdim=True), target[:, :1]
        error = shown_error(decoded.float(), target)
        losses = (
            alpha_loss(target + error, target) if self.is_matte else reconstruction_losses(error)
        )
        return losses | {"borders": border_loss(error, self.patch_size)}


def shown_error(decoded: Tensor, target: Tensor) -> Tensor:
    """Measure an error as a picture shows it: a little beyond black or white there is none.

    What is decoded is clamped when it is shown. A decoder that is held to black itself errs to
    both sides of it, and the half above is haze. One that may go beyond leaves none.

    Args:
        decoded: Pixels of any shape, around [-1, 1], not clamped.
        target: The same shape, in [-1, 1].
    """
    error = decoded - target
    is_beyond = (target.abs() >= 1) & (error * target > 0)
    return torch.where(is_beyond, nn.functional.softshrink(error, HEADROOM), error)


def border_loss(error: Tensor, patch_size: int) -> Tensor:
    """Measure by how much an error jumps from one patch of pixels to the next.

    A codec of patches makes seams, which are few pixels and the first that one sees.

    Args:
        error: (..., H, W), of pixels in [-1, 1]; H and W multiples of `patch_size`.
        patch_size: Rows and columns of a patch.
    """
    before, after = patch_size - 1, patch_size
    across = error[..., after::patch_size] - error[..., before:-1:patch_size]
    down = error[..., after::patch_size, :] - error[..., before:-1:patch_size, :]
    return 0.5 * (across.abs().mean() + down.abs().mean())


def train_decoder(
    folder: Path,
    vae: AutoencoderKLWan,
    frames: Frames,
    recipe: DecodersRecipe,
    *,
    is_matte: bool = False,
) -> None:
    """Train the decoder of `vae` in place. The last frames are kept out and measured.

    Args:
        folder: Folder of this run: checkpoint, TensorBoard events.
        vae: Its encoder stays.
        frames: Frames to learn.
        recipe: Length, speed, batch.
        is_matte: Whether the VAE is the one of mattes.
    """
    torch.manual_seed(recipe.loop.seed)
    vae.requires_grad_(False)
    decoder = Decoder(vae).requires_grad_(True)
    forget_past(decoder)
    num_learned = len(frames.pixels_M3HW) - min(HELD_OUT, len(frames.pixels_M3HW) // 2)
    learned, held_out = frames.part(0, num_learned), frames.part(num_learned, None)

    def evaluate(step: int) -> dict[str, float]:
        return frames_psnr(decoder, held_out, is_matte=is_matte)

    loss = FrameLoss(learned, recipe, vae.config.patch_size, is_matte=is_matte)
    train(folder, decoder, loss, recipe.loop, evaluate=evaluate, evaluate_every=250).copy_to(
        decoder
    )
    vae.requires_grad_(False).eval()


@torch.no_grad()
def frames_psnr(decoder: Decoder, frames: Frames, *, is_matte: bool) -> dict[str, float]:
    """Mean PSNR in dB of the transformer's and of the encoder's latents, decoded."""
    truth = frames.pixels_M3HW.float() / 255
    result = {}
    for name, latents in (("made", frames.made_MCHW), ("exact", frames.exact_MCHW)):
        raw = decoder(latents.to(next(decoder.parameters()).device).float()[:, :, None])
        decoded = ((raw.float().cpu()[:, :, 0] + 1) / 2).clamp(0, 1)
        if is_matte:
            decoded = decoded.mean(1, keepdim=True)
        error_M = (decoded - truth).square().flatten(1).mean(1).clamp_min(1e-9)
        result[name] = float((-10 * error_M.log10()).mean())
    return result
