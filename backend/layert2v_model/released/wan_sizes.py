"""Sizes of a Wan2.1 folder's parts, from its configs alone, even without weights."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from diffusers import AutoencoderKLWan
from transformers import UMT5Config, UMT5EncoderModel

from layert2v_model.errors import InvalidCheckpoint
from layert2v_model.released.modules import transformer_settings
from layert2v_model.released.wan_folder import (
    DIFFUSERS_SETTINGS,
    TRANSFORMER_FILES,
    WAN,
    read_wan_folder,
)
from layert2v_model.released.wan_settings import check_settings
from layert2v_model.weights.weight_files import read_json

UMT5_XXL = {
    "vocab_size": 256384,
    "d_model": 4096,
    "d_kv": 64,
    "d_ff": 10240,
    "num_layers": 24,
    "num_heads": 64,
}
"""Source: Wan2.1, `umt5_xxl` of its `t5.py`; its authors' folder has no config of it."""

_TEXT_BYTES = 2
"""Bytes of one number of the published text encoder, bfloat16."""


@dataclass(frozen=True)
class WanSizes:
    """Sizes of a base model."""

    settings: Mapping[str, Any]
    """Arguments of `LayerT2VTransformer3DModel`."""
    vae: Mapping[str, Any]
    """Its config."""
    text_bytes: int
    """Bytes of the text encoder, as stored."""


def read_wan_sizes(folder: Path) -> WanSizes:
    """Read the sizes of a Wan2.1 folder of either layout; of its configs where weights are missing.

    Raises:
        InvalidCheckpoint: There is neither a whole model nor a config; or a file is broken.
        InvalidFixture: A config or tensors are not those of a Wan model.
    """
    if any(folder.glob(TRANSFORMER_FILES)) or any(folder.glob(f"transformer/{TRANSFORMER_FILES}")):
        # Whatever device the caller makes modules on: these have numbers.
        with torch.device("cpu"):
            found = read_wan_folder(folder)
        text = sum(tensor.nbytes for tensor in found.text_encoder.values())
        return WanSizes(found.settings, dict(found.vae.config), text)
    if (folder / "transformer" / "config.json").is_file():
        config = read_json(folder / "transformer" / "config.json")
        check_settings(folder / "transformer" / "config.json", config)
        settings = {name: config[name] for name in DIFFUSERS_SETTINGS if name in config}
        return WanSizes(settings, _vae(folder), _text_bytes(folder))
    if (folder / "config.json").is_file():
        config = read_json(folder / "config.json")
        check_settings(folder / "config.json", config)
        settings = transformer_settings({}, {**WAN, **config}) | {"cross_attn_norm": True}
        return WanSizes(settings, _vae(folder), _text_bytes(folder))
    raise InvalidCheckpoint(
        f"{folder} has neither transformer/config.json nor config.json; give a Wan2.1-T2V folder, "
        f"or for its size alone one with the configs"
    )


def _vae(folder: Path) -> dict[str, Any]:
    """Read the VAE's config. What it does not say is Wan2.1's, as the library has it."""
    path = folder / "vae" / "config.json"
    config = read_json(path) if path.is_file() else {}
    with torch.device("meta"):
        return dict(AutoencoderKLWan.from_config(config).config)


def _text_bytes(folder: Path) -> int:
    path = folder / "text_encoder" / "config.json"
    config = read_json(path) if path.is_file() else UMT5_XXL
    with torch.device("meta"):
        encoder = UMT5EncoderModel(UMT5Config(**config))
    return _TEXT_BYTES * sum(parameter.numel() for parameter in encoder.parameters())
