"""Random models of Wan's shape, ours and the library's with the same weights.

Shape letters: B batch, S streams, C channels, T frames, H, W of latents, N text tokens, D width.
"""

import copy
import inspect
from typing import Any

import torch
from diffusers import WanTransformer3DModel
from torch import Tensor

from layert2v_model.network.transformer import LayerT2VTransformer3DModel

WAN_1_3B: dict[str, Any] = {
    "num_attention_heads": 12,
    "attention_head_dim": 128,
    "ffn_dim": 8960,
    "text_dim": 4096,
}
"""Sizes of Wan2.1-T2V-1.3B. Each benchmark sets its own number of blocks."""

TOY: dict[str, Any] = {
    "num_attention_heads": 2,
    "attention_head_dim": 24,
    "ffn_dim": 64,
    "text_dim": 32,
}
"""Toy sizes, which only check that a benchmark runs. Their figures mean nothing."""


def make_ours(
    sizes: dict[str, Any], num_blocks: int, **settings: Any
) -> LayerT2VTransformer3DModel:
    """Build ours with random weights. Its layer tables are zero, so the library's equals it."""
    torch.manual_seed(0)
    return LayerT2VTransformer3DModel(
        **sizes, num_layers=num_blocks, per_stream_timesteps=True, **settings
    ).eval()


def halve(ours: LayerT2VTransformer3DModel) -> LayerT2VTransformer3DModel:
    """Turn weights to bfloat16 in place, as loading does. Modulation and norms stay float32."""
    kept = set(ours._keep_in_fp32_modules)
    for name, parameter in ours.named_parameters():
        if not kept & set(name.split(".")):
            parameter.data = parameter.data.bfloat16()
    return ours


def plain_twin(
    ours: LayerT2VTransformer3DModel, *, half_time: bool = False
) -> WanTransformer3DModel:
    """Return the library's unmodified model on the very same weights, shared and not copied.

    Args:
        ours: The model with the weights.
        half_time: Whether the time projection is copied in bfloat16. The library does not keep it
            in float32.
    """
    names = inspect.signature(WanTransformer3DModel.__init__).parameters
    with torch.device("meta"):
        plain = WanTransformer3DModel(**{k: v for k, v in ours.config.items() if k in names})
    state = {k: v for k, v in ours.state_dict().items() if not k.startswith("layer_adaln.")}
    plain.load_state_dict(state, assign=True)
    # The library's tables of positions are not part of the state.
    plain.rope = type(plain.rope)(
        ours.config.attention_head_dim, ours.config.patch_size, ours.config.rope_max_seq_len
    ).to(ours.device)
    if half_time:
        plain.condition_embedder.time_proj = copy.deepcopy(
            ours.condition_embedder.time_proj
        ).bfloat16()
    return plain.eval()


def one_video(latents_BSCTHW: Tensor) -> Tensor:
    """Lay streams one after another in time, as the release does: (B, C, S T, H, W)."""
    return torch.cat(list(latents_BSCTHW.unbind(1)), dim=2)
