"""Wan2.1 as the base of a run: transformer, VAE and text encoder from a folder the user has."""

from collections.abc import Mapping
from typing import Any

import torch
from transformers import AutoTokenizer, UMT5EncoderModel

from layert2v_model.network.transformer import LayerT2VTransformer3DModel
from layert2v_model.released.wan_folder import TIED_EMBEDDING, WanFolder
from layert2v_training.runs.overrides import InvalidRecipe

_OWN = ("layer_adaln.layer_modulation", "layer_adaln.foreground_modulation")
"""Parameters that Wan does not have. They start at 0, where the model is Wan on every stream."""


def wan_transformer(base: WanFolder, own_settings: Mapping[str, Any]) -> LayerT2VTransformer3DModel:
    """Build a transformer with Wan's weights, in float32.

    Args:
        base: Read by `read_wan_folder`.
        own_settings: Settings that Wan's config lacks. Sizes that it has must be its own.

    Raises:
        InvalidRecipe: The recipe has another size than the folder.
    """
    for name, value in own_settings.items():
        theirs = base.settings.get(name, value)
        if tuple(theirs) != tuple(value) if isinstance(value, tuple | list) else theirs != value:
            raise InvalidRecipe(
                f"transformer.{name} is {value}, the base folder has {theirs}; give the folder of "
                f"the recipe's model, or --set transformer.{name}={theirs}"
            )
    with torch.device("meta"):
        model = LayerT2VTransformer3DModel(**{**base.settings, **own_settings})
    model.to_empty(device="cpu")
    model.rope = type(model.rope)(
        model.config.attention_head_dim, model.config.patch_size, model.config.rope_max_seq_len
    )
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if name in _OWN:
                parameter.zero_()
            else:
                parameter.copy_(base.transformer[name])
    return model


def wan_text_encoder(base: WanFolder) -> tuple[Any, UMT5EncoderModel]:
    """Build tokenizer and text encoder on the folder's mapped tensors, which take no memory yet."""
    tokenizer = AutoTokenizer.from_pretrained(base.tokenizer, local_files_only=True)
    with torch.device("meta"):
        encoder = UMT5EncoderModel(base.text_config)
    state = {**base.text_encoder, TIED_EMBEDDING: base.text_encoder["shared.weight"]}
    encoder.load_state_dict(state, strict=True, assign=True)
    return tokenizer, encoder.eval().requires_grad_(False)
