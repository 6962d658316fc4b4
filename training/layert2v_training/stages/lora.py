"""Low-rank adapters of the transformer, by peft through diffusers; LayerAdaLN learns whole."""

from dataclasses import dataclass
from typing import Literal

import torch
from peft import LoraConfig
from torch import nn

from layert2v_model.network.transformer import LayerT2VTransformer3DModel
from layert2v_training.number_kinds import Count, Decay, Positive


@dataclass(frozen=True)
class LoraRecipe:
    """Adapters of the transformer that learn in place of all of it."""

    rank: Count = 128
    """Source: LayerT2V's release, `vae_lora.yaml`, as is `alpha`."""
    alpha: Positive = 128.0
    """A change counts `alpha` / `rank` times."""
    dropout: Decay = 0.05
    """Source: LayerT2V's release, `lora_utils.py`."""
    frozen: Literal["float32", "bfloat16"] = "float32"
    """Precision of the blocks' weights that do not learn. bfloat16 halves them, and the stage must
    compute in it."""


def add_lora(model: LayerT2VTransformer3DModel, recipe: LoraRecipe) -> None:
    """Freeze a transformer but for LayerAdaLN and give every linear map an adapter, in place.

    Adapters start as no change.

    Source: LayerT2V's release adapts every linear map of Wan's transformer.
    """
    targets = [name for name, part in model.named_modules() if isinstance(part, nn.Linear)]
    model.requires_grad_(False)
    model.add_adapter(
        LoraConfig(
            r=recipe.rank,
            lora_alpha=recipe.alpha,
            lora_dropout=recipe.dropout,
            target_modules=targets,
        )
    )
    model.layer_adaln.requires_grad_(True)
    if recipe.frozen == "bfloat16":
        for name, parameter in model.blocks.named_parameters():
            if name.endswith(("base_layer.weight", "base_layer.bias")):
                parameter.data = parameter.data.to(torch.bfloat16)


def merge_lora(model: LayerT2VTransformer3DModel) -> None:
    """Fold the adapters of `add_lora` into plain float32 weights, in place."""
    model.float()
    model.fuse_lora()
    model.unload_lora()
