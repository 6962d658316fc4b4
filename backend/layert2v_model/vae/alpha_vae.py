"""Alpha through the Wan VAE: frozen encoder, `project_in`, decoder with a mergeable LoRA.

Shape letters: B batch, C channels, T frames, H, W; in weights O out, I in, R rank, and t, h, w.
Alpha is in [0, 1]; latents are normalised by the VAE's config.
"""

import json
from pathlib import Path
from typing import Any

import safetensors.torch
import torch
from diffusers import AutoencoderKLWan
from diffusers.models.autoencoders.autoencoder_kl_wan import (
    WanAttentionBlock,
    WanCausalConv3d,
    WanResidualBlock,
)
from safetensors import safe_open
from torch import Tensor, nn
from torch.nn.utils import parametrize

from layert2v_model.vae import codec

PROJECT_IN_FILE = "project_in.safetensors"
"""Name of `project_in`'s file inside the `alpha_vae` folder of a model."""


class ProjectIn(nn.Module):
    """Move an encoded alpha to where the adapted decoder wants it: z + tanh(gate) * f(z).

    Works on normalised latents, keeps their shape and is causal in time.

    Source: LayerT2V's release, the projector of its mask VAE (mode "vae-lora").
    """

    def __init__(
        self,
        latent_channels: int,
        hidden_channels: int = 64,
        res_blocks: int = 2,
        *,
        use_attention: bool = True,
    ) -> None:
        super().__init__()
        self.settings: dict[str, Any] = {
            "latent_channels": latent_channels,
            "hidden_channels": hidden_channels,
            "res_blocks": res_blocks,
            "use_attention": use_attention,
        }
        self.gate = nn.Parameter(torch.zeros(()))
        self.in_conv = WanCausalConv3d(latent_channels, hidden_channels, 3, padding=1)
        self.blocks = nn.ModuleList()
        for _ in range(res_blocks):
            self.blocks.append(WanResidualBlock(hidden_channels, hidden_channels))
            if use_attention:
                self.blocks.append(_silent_attention(hidden_channels))
        self.out_conv = WanCausalConv3d(hidden_channels, latent_channels, 3, padding=1)

    def forward(self, latents_BCTHW: Tensor) -> Tensor:
        """Map normalised latents to normalised latents of the same shape."""
        hidden = self.in_conv(latents_BCTHW)
        for block in self.blocks:
            hidden = block(hidden)
        return latents_BCTHW + torch.tanh(self.gate) * self.out_conv(hidden)


def _silent_attention(channels: int) -> WanAttentionBlock:
    block = WanAttentionBlock(channels)
    nn.init.zeros_(block.proj.weight)
    nn.init.zeros_(block.proj.bias)
    return block


class LowRankUpdate(nn.Module):
    """A weight's low-rank change, W + scale * up @ down; starts as no change.

    Equal to the release's parallel branch (a convolution to R channels, then 1x1x1 back), because
    both are linear. So merging is exact and training costs one convolution instead of three.
    """

    def __init__(self, weight_OIthw: Tensor, rank: int, alpha: float) -> None:
        super().__init__()
        out_channels, in_channels, *kernel = weight_OIthw.shape
        self.scale = alpha / rank
        self.down = nn.Parameter(weight_OIthw.new_empty(rank, in_channels, *kernel))
        self.up = nn.Parameter(weight_OIthw.new_zeros(out_channels, rank))
        nn.init.kaiming_normal_(self.down)

    def forward(self, weight_OIthw: Tensor) -> Tensor:
        """Return the changed weight."""
        return weight_OIthw + self.scale * low_rank_change(self.up, self.down)


def low_rank_change(up_OR: Tensor, down_RIthw: Tensor) -> Tensor:
    """Multiply out a pair of LoRA factors: (O, I, t, h, w), not scaled."""
    return torch.einsum("or,rithw->oithw", up_OR, down_RIthw)


def add_decoder_lora(vae: AutoencoderKLWan, rank: int, alpha: float) -> list[nn.Parameter]:
    """Freeze a VAE and give every causal convolution of its decoder a low-rank change.

    Changes `vae` in place: `decoder` and `post_quant_conv`, as released; not the 2D convolutions,
    the attention or the norms.

    Returns:
        The parameters to train.
    """
    vae.requires_grad_(False)
    updates = []
    for conv in _adapted_convs(vae):
        update = LowRankUpdate(conv.weight, rank, alpha)
        parametrize.register_parametrization(conv, "weight", update)
        updates.append(update)
    return [parameter for update in updates for parameter in update.parameters()]


def merge_decoder_lora(vae: AutoencoderKLWan) -> None:
    """Fold the changes of `add_decoder_lora` into plain weights, in place and exactly."""
    for conv in _adapted_convs(vae):
        if parametrize.is_parametrized(conv, "weight"):
            parametrize.remove_parametrizations(conv, "weight", leave_parametrized=True)


def _adapted_convs(vae: AutoencoderKLWan) -> list[WanCausalConv3d]:
    inner = [m for m in vae.decoder.modules() if isinstance(m, WanCausalConv3d)]
    return [vae.post_quant_conv, *inner]


def encode_alpha(vae: AutoencoderKLWan, project_in: ProjectIn, alpha_B1THW: Tensor) -> Tensor:
    """Encode alpha in [0, 1] as three equal channels: projected normalised latents."""
    return project_in(codec.encode(vae, alpha_B1THW.expand(-1, 3, -1, -1, -1)))


def decode_alpha_raw(vae: AutoencoderKLWan, latents_BCTHW: Tensor) -> Tensor:
    """Decode to the mean of the channels around [-1, 1], not clamped: (B, 1, T, H, W)."""
    return codec.decode_raw(vae, latents_BCTHW).mean(dim=1, keepdim=True)


def rgb_to_alpha(raw_BCTHW: Tensor) -> Tensor:
    """Read alpha in [0, 1] from decoder output in [-1, 1], as released: clip, mean, shift."""
    mean_B1THW = raw_BCTHW.float().clamp(-1, 1).mean(dim=1, keepdim=True)
    return ((mean_B1THW + 1) / 2).clamp(0, 1)


def save_project_in(project_in: ProjectIn, folder: Path) -> None:
    """Write `project_in` beside the alpha VAE's weights, its settings in the file's metadata."""
    tensors = {name: value.contiguous() for name, value in project_in.state_dict().items()}
    metadata = {"project_in": json.dumps(project_in.settings)}
    safetensors.torch.save_file(tensors, folder / PROJECT_IN_FILE, metadata)


def load_project_in(folder: Path, dtype: torch.dtype = torch.float32) -> ProjectIn:
    """Read `project_in` from an alpha VAE's folder.

    Raises:
        OSError: The file is missing or cannot be read.
        safetensors.SafetensorError: It is broken.
        KeyError, RuntimeError, TypeError, ValueError: It holds something else.
    """
    path = folder / PROJECT_IN_FILE
    with safe_open(path, "pt") as file:
        settings = json.loads(file.metadata()["project_in"])
    project_in = ProjectIn(**settings)
    project_in.load_state_dict(safetensors.torch.load_file(path), strict=True)
    return project_in.to(dtype).eval()


def save_alpha_vae(vae: AutoencoderKLWan, project_in: ProjectIn, folder: Path) -> None:
    """Write the merged VAE and `project_in` as a model's `alpha_vae` folder."""
    vae.save_pretrained(folder)
    save_project_in(project_in, folder)
