import json
from pathlib import Path

import pytest
import torch
from diffusers import AutoencoderKLWan
from transformers import UMT5Config, UMT5EncoderModel

from layert2v_model.errors import InvalidCheckpoint
from layert2v_model.released.names import linear_maps
from layert2v_model.released.wan_folder import text_config_of, vae_settings

DATA = Path(__file__).parents[2] / "data"


def test_the_published_vae_is_recognised_by_its_tensors() -> None:
    pairs = dict(json.loads((DATA / "vae_name_map.json").read_text()))
    with torch.device("meta"):
        ours = AutoencoderKLWan().state_dict()

    settings = vae_settings({released: ours[name] for released, name in pairs.items()})

    assert settings == {
        "dim": 96,
        "z_dim": 16,
        "dim_mult": [1, 2, 4, 4],
        "num_res_blocks": 2,
        "temporal_downsample": [False, True, True],
    }


def test_the_published_text_encoder_is_recognised_by_its_tensors() -> None:
    wanted = UMT5Config(
        vocab_size=256_384, d_model=4096, d_kv=64, d_ff=10_240, num_layers=24, num_heads=64
    )
    with torch.device("meta"):
        state = UMT5EncoderModel(wanted).state_dict()

    found = text_config_of(state)
    for name in ("vocab_size", "d_model", "d_kv", "d_ff", "num_layers", "num_heads"):
        assert getattr(found, name) == getattr(wanted, name)


def test_the_published_transformer_has_612_lora_factors() -> None:
    assert 2 * len(linear_maps(30)) == 612


def test_tensors_that_tell_no_size_are_refused() -> None:
    with pytest.raises(InvalidCheckpoint, match=r"lacks encoder.conv1.weight"):
        vae_settings({})
    with pytest.raises(InvalidCheckpoint, match=r"lacks the tensors for 'shared.weight'"):
        text_config_of({})
