"""Stage 1: teach the VAE's decoder mattes, by a LoRA on its convolutions and `project_in`.

    layert2v-train alpha-vae --assets cache/assets --out runs/tiny

The encoder stays frozen. Needs `OUT/vae`. Writes `OUT/alpha_vae`, a plain VAE with the LoRA merged,
and `project_in` beside it.
"""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from accelerate import PartialState
from diffusers import AutoencoderKLWan
from einops import rearrange
from torch import Tensor, nn

from layert2v_model.vae.alpha_vae import (
    ProjectIn,
    add_decoder_lora,
    decode_alpha_raw,
    merge_decoder_lora,
    save_alpha_vae,
)
from layert2v_training.cache.placement import expected_bytes_of, home_of, num_bytes_of, onto
from layert2v_training.cache.workers import make_in_workers
from layert2v_training.codecs.linear_vae import encode_pixels
from layert2v_training.data.clips import ClipSource, Pixels
from layert2v_training.data.sources import FileClips
from layert2v_training.learning.loop import Losses, train
from layert2v_training.learning.optimizers import LoopRecipe
from layert2v_training.learning.run_log import Figures
from layert2v_training.number_kinds import Count, NotNegative, Positive

EDGE_SCALE = 2.0
"""Weight of an edge over that of flat alpha. Source: the release's `edge_scale`."""
ENCODED_AT_ONCE = 8
"""Mattes."""
DECODED_AT_ONCE = 4
"""Mattes, when many are measured: Wan's decoder takes some GB for each."""
SHOWN_MATTES = 4
"""Held-out mattes on a sheet."""
HELD_OUT = 16
"""Clips, and mattes of them, that are measured and not learned; of few clips an eighth."""


@dataclass(frozen=True)
class AlphaVaeRecipe:
    """A recipe of stage 1."""

    loop: LoopRecipe
    rank: Count = 32
    lora_alpha: Positive = 32.0
    hidden_channels: Count = 32
    """Width of `project_in`."""
    batch_size: Count = 8
    num_clips: Count = 400
    """Composed clips for mattes. If the user has clips, those count instead."""
    render_weight: NotNegative = 0.0
    """Weight of `render_loss`; 0 as published."""


def alpha_loss(decoded_B1THW: Tensor, target_B1THW: Tensor) -> Losses:
    """Reconstruction and edge loss of a decoded matte; both inputs around [-1, 1], not clamped.

    Source:
        LayerT2V's release, `MaskVAELoss`, with its published weights: SmoothL1, and L1 weighted by
        1 + s |grad target| / max per sample. Its VGG term needs weights this project cannot ship.
    """
    error = (decoded_B1THW.float() - target_B1THW).abs()
    gradient = _gradient(target_B1THW)
    largest = gradient.flatten(1).amax(1).clamp_min(1e-6).view(-1, 1, 1, 1, 1)
    return {
        "reconstruction": nn.functional.smooth_l1_loss(decoded_B1THW.float(), target_B1THW),
        "edge": ((1 + EDGE_SCALE * gradient / largest) * error).mean(),
    }


def render_loss(decoded_B1THW: Tensor, target_B1THW: Tensor) -> Tensor:
    """Compare two mattes by what they show: a random colour over another, display-referred.

    Colours are drawn for every clip from PyTorch's generator. Both mattes around [-1, 1].
    """
    shape = (2, len(target_B1THW), 3, 1, 1, 1)
    front, back = torch.rand(shape).to(target_B1THW.device).unbind(0)
    decoded, target = (
        alpha * front + (1 - alpha) * back
        for alpha in ((matte.float() + 1) / 2 for matte in (decoded_B1THW, target_B1THW))
    )
    return nn.functional.l1_loss(decoded, target)


def _gradient(video_B1THW: Tensor) -> Tensor:
    """Magnitude of the Sobel gradient of every frame."""
    frames = rearrange(video_B1THW, "b c t h w -> (b t) c h w")
    kernel = frames.new_tensor([[-1, 0, 1], [-2, 0, 2], [-1, 0, 1]])
    kernels = torch.stack([kernel, kernel.T])[:, None]
    padded = nn.functional.pad(frames, (1, 1, 1, 1), mode="replicate")
    steps = nn.functional.conv2d(padded, kernels)
    magnitude = (steps.square().sum(1, keepdim=True) + 1e-8).sqrt()
    return rearrange(magnitude, "(b t) c h w -> b c t h w", b=len(video_B1THW))


@dataclass(frozen=True)
class _MatteDrawer:
    source: ClipSource

    def __call__(self, index: int) -> list[Pixels]:
        alphas = [layer.alpha_THW[None] for layer in self.source.clip(index).foregrounds]
        inverted = [1 - alpha for alpha in alphas]
        if isinstance(self.source, FileClips):  # each is seen as it is
            return alphas + (inverted if index % 4 == 0 else [])
        return inverted if index % 4 == 3 else alphas


def draw_alphas(source: ClipSource, count: int, num_workers: int = 0) -> tuple[Tensor, Tensor]:
    """Take the mattes of `count` clips, apart by clips: those to learn, and those held out.

    Those of a quarter of the clips are inverted: large covered areas, which single sprites never
    show. All clips from files are used unchanged, and a quarter of them inverted as well.

    Returns:
        Float32 (M, 1, T, H, W) in [0, 1] each; of a single clip the same twice.
    """
    drawn = make_in_workers(_MatteDrawer(source), range(count), num_workers)
    # Files come once for each start in time. Composed clips are all different.
    different = min(count, len(source.clips)) if isinstance(source, FileClips) else count
    first_held = different - num_held_out(different)
    parts: tuple[list[Pixels], list[Pixels]] = ([], [])
    for index, alphas in enumerate(drawn):
        parts[index % different >= first_held].extend(alphas)
    learned, held_out = (torch.from_numpy(np.stack(part or parts[0])) for part in parts)
    return learned, held_out


def num_held_out(num_clips: int) -> int:
    """Say how many of different clips, the last, are measured and not learned; none of one."""
    return min(HELD_OUT, max(1, num_clips // 8)) if num_clips > 1 else 0


class AlphaModel(nn.Module):
    """The parts that stage 1 trains, as one module."""

    def __init__(self, vae: AutoencoderKLWan, recipe: AlphaVaeRecipe) -> None:
        super().__init__()
        self.vae = vae
        add_decoder_lora(vae, recipe.rank, recipe.lora_alpha)
        self.project_in = ProjectIn(vae.config.z_dim, recipe.hidden_channels)

    def forward(self, latents_BCTHW: Tensor) -> Tensor:
        """Decode frozen-encoder latents of an alpha: around [-1, 1], (B, 1, T, H, W)."""
        return decode_alpha_raw(self.vae, self.project_in(latents_BCTHW))


def decoded_mattes(model: AlphaModel, latents_MCTHW: Tensor) -> Tensor:
    """Decode latents of mattes, a few at a time: (M, 1, T, H, W) in [0, 1]."""
    decoded = [model(part).float() for part in latents_MCTHW.split(DECODED_AT_ONCE)]
    return ((torch.cat(decoded) + 1) / 2).clamp(0, 1)


def alpha_psnr(decoded_M1THW: Tensor, alphas_M1THW: Tensor) -> float:
    """Mean PSNR in dB of mattes through the alpha VAE."""
    error_M = (decoded_M1THW - alphas_M1THW).square().flatten(1).mean(1).clamp_min(1e-9)
    return float((-10 * error_M.log10()).mean())


def matte_sheet(decoded_M1THW: Tensor, alphas_M1THW: Tensor) -> Tensor:
    """Lay mattes out: a row for each, as it was drawn and below it as it was decoded.

    Returns:
        (3, 2 x `SHOWN_MATTES` x H, 3 x W): its first, middle and last frame; on the CPU.
    """
    last = alphas_M1THW.shape[2] - 1
    pairs = torch.stack([alphas_M1THW, decoded_M1THW], 1)[:SHOWN_MATTES, :, 0]
    shown = pairs[:, :, [0, last // 2, last]].float().cpu()
    return rearrange(shown, "m k t h w -> (m k h) (t w)").expand(3, -1, -1)


def _encoded(vae: AutoencoderKLWan, alphas_B1THW: Tensor) -> Tensor:
    """Encode mattes where the VAE is. The latents come back to the CPU."""
    return encode_pixels(vae, alphas_B1THW.to(vae.device).expand(-1, 3, -1, -1, -1)).cpu()


def train_alpha_vae(
    source: ClipSource,
    out: Path,
    vae: AutoencoderKLWan,
    recipe: AlphaVaeRecipe,
    num_workers: int = 0,
) -> tuple[AutoencoderKLWan, ProjectIn]:
    """Adapt `vae` in place to mattes. Write and return the merged VAE and `project_in`."""
    torch.manual_seed(recipe.loop.seed)
    drawn, held = draw_alphas(source, recipe.num_clips, num_workers)
    held_out, device = held[-HELD_OUT:], vae.device
    model = AlphaModel(vae, recipe)
    latents, held_latents = (
        torch.cat([_encoded(vae, part) for part in mattes.split(ENCODED_AT_ONCE)])
        for mattes in (drawn, held_out)
    )
    home = home_of(num_bytes_of((drawn, latents)), device, expected_bytes_of(model, device))
    alphas, latents = drawn.to(home), latents.to(home)

    def loss_of(called: nn.Module, step: int) -> Losses:
        chosen = torch.randint(len(alphas), (recipe.batch_size,)).to(home)
        exact, matte = onto(device, latents[chosen]), onto(device, alphas[chosen])
        noisy = exact + 0.05 * torch.randn_like(exact)
        decoded, target = called(noisy), 2 * matte - 1
        losses = alpha_loss(decoded, target)
        if recipe.render_weight:
            losses["render"] = recipe.render_weight * render_loss(decoded, target)
        return losses

    def evaluate(step: int) -> Figures:
        truth, given = held_out.to(device), held_latents.to(device)
        decoded = decoded_mattes(model, given)
        return {"alpha_psnr": alpha_psnr(decoded, truth), "sheet": matte_sheet(decoded, truth)}

    train(
        out / "run-alpha-vae", model, loss_of, recipe.loop, evaluate=evaluate, evaluate_every=100
    ).copy_to(model)  # fmt: skip
    model.cpu()
    merge_decoder_lora(vae)
    vae.requires_grad_(False).eval()
    if PartialState().is_main_process:
        save_alpha_vae(vae, model.project_in, out / "alpha_vae")
    return vae, model.project_in
