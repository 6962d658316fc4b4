"""Measure peaks of a random model of medium size, in a process that a test starts."""

from typing import Any

import torch
from diffusers import AutoencoderKLWan

from benchmarks.memory import extra_peak_bytes
from layert2v_model.cost.estimate import ModelSize
from layert2v_model.network.transformer import LayerT2VTransformer3DModel
from layert2v_model.shot import ShotFormat
from layert2v_model.vae import codec

SHOT = ShotFormat(256, 192, 9, num_foregrounds=2, num_inference_steps=1)
NUM_TEXT_TOKENS = 20
DECODED = ShotFormat(384, 256, 5, num_foregrounds=2, num_inference_steps=1)
"""A larger size, at which a decoder works on its most pixels at once."""


def make_vae() -> AutoencoderKLWan:
    """Build a random VAE of Wan's layout, a twelfth as wide."""
    return AutoencoderKLWan(
        base_dim=8,
        z_dim=16,
        dim_mult=[1, 2, 4, 4],
        num_res_blocks=2,
        temperal_downsample=[False, True, True],
    ).eval()


def make_transformer(window: int | None) -> LayerT2VTransformer3DModel:
    """Build a random transformer of Wan's proportions, a quarter as wide."""
    settings: dict[str, Any] = {"num_layers": 2, "text_dim": 64, "freq_dim": 64}
    model = LayerT2VTransformer3DModel(
        num_attention_heads=3,
        attention_head_dim=128,
        ffn_dim=2240 if window is None else 256,
        cross_stream_window=window,
        **settings,
    )
    return model.eval()


def model_size(window: int | None, dtype: torch.dtype) -> ModelSize:
    """Describe the model to `estimate`, without weights."""
    with torch.device("meta"):
        transformer, vae = make_transformer(window), make_vae()
    return ModelSize(transformer.config, vae.config, {"transformer": 0}, dtype.itemsize)


@torch.inference_mode()
def _denoise_peak(window: int | None, dtype: torch.dtype) -> int:
    model = make_transformer(window).to(dtype)
    latents = torch.randn(1, SHOT.num_streams, 16, 3, 24, 32).to(dtype)
    text = torch.randn(1, SHOT.num_streams, NUM_TEXT_TOKENS, 64).to(dtype)

    def denoise(height: int = 24) -> torch.Tensor:
        return model(latents[..., :height, :], torch.tensor([500.0]), text)

    denoise(2)  # The first call loads libraries, whose memory is not the step's.
    return extra_peak_bytes(denoise)


@torch.inference_mode()
def _decode_peak() -> int:
    vae, latents = make_vae(), torch.randn(2, 16, 2, 32, 48)

    def decode(height: int = 32) -> torch.Tensor:
        chunks = codec.decode_chunks(vae, latents[..., :height, :])
        return torch.cat([codec.to_unit(raw) for raw in chunks], dim=2)

    decode(2)
    return extra_peak_bytes(decode)


def measured() -> dict[str, int]:
    """Measure the bytes of each case. From then on the process gives freed memory back at once."""
    torch.manual_seed(0)
    return {
        "full": _denoise_peak(None, torch.float32),
        "windowed": _denoise_peak(1, torch.float32),
        "half": _denoise_peak(None, torch.bfloat16),
        "decode": _decode_peak(),
    }
