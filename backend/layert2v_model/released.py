"""The authors' released parameters in our classes.

`python -m layert2v_model.released verify FILE...` checks that they compute the same, see
`fixtures.py`. Shape letters: O out, R rank of LoRA factors.
"""

import math
import sys
from collections.abc import Callable, Iterable, Mapping
from typing import Any, TypeVar

from diffusers import AutoencoderKLWan
from torch import Tensor, nn

from layert2v_model.alpha_vae import ProjectIn, low_rank_change
from layert2v_model.errors import InvalidFixture
from layert2v_model.released_names import project_in_names, transformer_names, vae_names
from layert2v_model.transformer import LayerT2VTransformer3DModel

Module = TypeVar("Module", bound=nn.Module)
Names = Callable[[Iterable[str]], dict[str, str]]
"""Renames all names of a state dict; raises KeyError at an unknown one."""


def transformer_from_released(
    state: Mapping[str, Tensor], config: Mapping[str, Any], max_foregrounds: int = 1
) -> LayerT2VTransformer3DModel:
    """Build our transformer from the released parameters of a single-foreground model.

    Args:
        state: Parameters under released names, `layer_adaln.layer_modulation` included or not (a
            base Wan model has none; it becomes zero).
        config: The released config; `num_heads` is needed, the rest is read off the tensors.
        max_foregrounds: Most foregrounds the new model will take.

    Raises:
        InvalidFixture: A name is unknown or missing, or a shape does not fit.
    """
    model = LayerT2VTransformer3DModel(
        **_transformer_settings(state, config), max_foregrounds=max_foregrounds
    )
    renamed = _rename(state, transformer_names, "transformer")
    own = model.layer_adaln.state_dict(prefix="layer_adaln.")
    return _loaded(model, own | renamed, "transformer")


def _transformer_settings(state: Mapping[str, Tensor], config: Mapping[str, Any]) -> dict[str, Any]:
    patch = _tensor(state, "patch_embedding.weight")
    dim, num_heads = patch.shape[0], int(config["num_heads"])
    head = _tensor(state, "head.head.weight")
    return {
        "patch_size": tuple(patch.shape[2:]),
        "num_attention_heads": num_heads,
        "attention_head_dim": dim // num_heads,
        "in_channels": patch.shape[1],
        "out_channels": head.shape[0] // math.prod(patch.shape[2:]),
        "text_dim": _tensor(state, "text_embedding.0.weight").shape[1],
        "freq_dim": _tensor(state, "time_embedding.0.weight").shape[1],
        "ffn_dim": _tensor(state, "blocks.0.ffn.0.weight").shape[0],
        "num_layers": 1 + max(int(k.split(".")[1]) for k in state if k.startswith("blocks.")),
        "cross_attn_norm": "blocks.0.norm3.weight" in state,
        "eps": float(config.get("eps", 1e-6)),
        "prompt_visibility": "released",
        "foreground_fill": "black",
    }


def vae_from_released(state: Mapping[str, Tensor], settings: Mapping[str, Any]) -> AutoencoderKLWan:
    """Build diffusers' Wan VAE from released parameters.

    Args:
        state: Parameters under released names.
        settings: `dim`, `dim_mult`, `num_res_blocks`, `temporal_downsample` (or the release's
            spelling, `temperal_downsample`) and `z_dim`.

    Raises:
        InvalidFixture: A name is unknown or missing, or a shape does not fit.
    """
    downsample = settings.get("temporal_downsample", settings.get("temperal_downsample"))
    vae = AutoencoderKLWan(
        base_dim=settings["dim"],
        z_dim=settings["z_dim"],
        dim_mult=list(settings["dim_mult"]),
        num_res_blocks=settings["num_res_blocks"],
        temperal_downsample=list(downsample or []),
        scale_factor_temporal=2 ** sum(downsample or []),
        scale_factor_spatial=2 ** (len(settings["dim_mult"]) - 1),
    )
    return _loaded(vae, _rename(state, _vae_names_for(vae), "VAE"), "VAE")


def _vae_names_for(vae: AutoencoderKLWan) -> Names:
    stages, blocks = len(vae.config.dim_mult), vae.config.num_res_blocks
    return lambda names: vae_names(names, stages, blocks)


def merge_released_lora(
    vae: AutoencoderKLWan, lora: Mapping[str, Tensor], rank: int, alpha: float
) -> None:
    """Fold the released decoder LoRA (`model.<conv>.lora_{down,up}.weight`) into `vae`, in place.

    Raises:
        InvalidFixture: A factor has no partner or no convolution, or a shape does not fit.
    """
    weights = dict(vae.named_parameters())
    places = sorted({name.rpartition(".lora_")[0] for name in lora})
    plain = {f"{place.removeprefix('model.')}.weight": lora for place in places}
    targets = list(_rename(plain, _vae_names_for(vae), "decoder LoRA"))
    for place, target in zip(places, targets, strict=True):
        up_OR = _tensor(lora, f"{place}.lora_up.weight").flatten(1)
        change = low_rank_change(up_OR, _tensor(lora, f"{place}.lora_down.weight"))
        if target not in weights or weights[target].shape != change.shape:
            raise InvalidFixture(f"the decoder LoRA's {place} fits no convolution of the VAE")
        weights[target].data += alpha / rank * change


def project_in_from_released(state: Mapping[str, Tensor], settings: Mapping[str, Any]) -> ProjectIn:
    """Build the projector from released parameters.

    Raises:
        InvalidFixture: A name is unknown or missing, or a shape does not fit.
    """
    project_in = ProjectIn(
        latent_channels=_tensor(state, "in_conv.weight").shape[1],
        hidden_channels=settings["hidden_channels"],
        res_blocks=settings["res_blocks"],
        use_attention=settings["use_attention"],
    )
    return _loaded(project_in, _rename(state, project_in_names, "projector"), "projector")


def _tensor(state: Mapping[str, Tensor], name: str) -> Tensor:
    if name not in state:
        raise InvalidFixture(f"the tensor {name} is missing; use a whole file")
    return state[name]


def _rename(state: Mapping[str, Any], names: Names, what: str) -> dict[str, Any]:
    try:
        renamed = names(state)
    except KeyError as error:
        raise InvalidFixture(
            f"the {what} holds an unknown parameter {error}; use a file of the released model"
        ) from None
    return {renamed[name]: value for name, value in state.items()}


def _loaded(module: Module, state: Mapping[str, Tensor], what: str) -> Module:
    try:
        module.load_state_dict(state, strict=True)
    except RuntimeError as error:
        reason = " ".join(str(error).split())
        raise InvalidFixture(f"the {what}'s parameters do not fit: {reason}") from None
    return module.eval().requires_grad_(False)


if __name__ == "__main__":
    from layert2v_model.fixtures import main

    sys.exit(main())
