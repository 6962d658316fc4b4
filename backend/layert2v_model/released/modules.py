"""The authors' released parameters in our classes.

`python -m layert2v_model.released verify FILE...` checks that they compute the same, see
`fixtures.py`. Shape letters: O out, R rank of LoRA factors.
"""

import math
from collections.abc import Callable, Iterable, Mapping
from typing import Any, TypeVar

from diffusers import AutoencoderKLWan
from torch import Tensor, nn

from layert2v_model.errors import InvalidFixture
from layert2v_model.network.transformer import LayerT2VTransformer3DModel
from layert2v_model.released.names import project_in_names, transformer_names, vae_names
from layert2v_model.vae.alpha_vae import ProjectIn, low_rank_change
from layert2v_model.weights.checks import names_in_short

Module = TypeVar("Module", bound=nn.Module)
Value = TypeVar("Value")
Names = Callable[[Iterable[str]], dict[str, str]]
"""Renames all names of a state dict. It raises KeyError at an unknown one."""


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
        **transformer_settings(state, config), max_foregrounds=max_foregrounds
    )
    ours = renamed(state, transformer_names, "the transformer")
    own = model.layer_adaln.state_dict(prefix="layer_adaln.")
    return _loaded(model, own | ours, "transformer")


def transformer_settings(state: Mapping[str, Tensor], config: Mapping[str, Any]) -> dict[str, Any]:
    """Read a released transformer's sizes off its config, and off its tensors what that lacks.

    Raises:
        InvalidFixture: A tensor that tells a size is missing.
    """
    if "num_heads" not in config:
        raise InvalidFixture("the transformer's config lacks num_heads; use the released one")

    def size(setting: str, name: str, axis: int) -> int:
        return int(config[setting]) if setting in config else _tensor(state, name).shape[axis]

    blocks = [int(name.split(".")[1]) for name in state if name.startswith("blocks.")]
    dim = size("dim", "patch_embedding.weight", 0)
    patch_size = config.get("patch_size") or _tensor(state, "patch_embedding.weight").shape[2:]
    num_outputs = size("out_dim", "head.head.weight", 0)
    return {
        "patch_size": tuple(patch_size),
        "num_attention_heads": int(config["num_heads"]),
        "attention_head_dim": dim // int(config["num_heads"]),
        "in_channels": size("in_dim", "patch_embedding.weight", 1),
        "out_channels": num_outputs // (1 if "out_dim" in config else math.prod(patch_size)),
        "text_dim": size("text_dim", "text_embedding.0.weight", 1),
        "freq_dim": size("freq_dim", "time_embedding.0.weight", 1),
        "ffn_dim": size("ffn_dim", "blocks.0.ffn.0.weight", 0),
        "num_layers": int(config.get("num_layers", 1 + max(blocks, default=-1))),
        "cross_attn_norm": any(name.startswith("blocks.0.norm3.") for name in state),
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
    return _loaded(vae, renamed(state, _vae_names_for(vae), "the VAE"), "VAE")


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
    targets = list(renamed(plain, _vae_names_for(vae), "the decoder LoRA"))
    for place, target in zip(places, targets, strict=True):
        up, down = (_tensor(lora, f"{place}.lora_{end}.weight") for end in ("up", "down"))
        if (up.ndim, down.ndim, up.shape[1:2], down.shape[:1]) != (5, 5, (rank,), (rank,)):
            raise InvalidFixture(f"the decoder LoRA's {place} is not a convolution of rank {rank}")
        change = low_rank_change(up.flatten(1), down)
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
    return _loaded(project_in, renamed(state, project_in_names, "the projector"), "projector")


def _tensor(state: Mapping[str, Tensor], name: str) -> Tensor:
    if name not in state:
        raise InvalidFixture(f"the tensor {name} is missing; use a whole file")
    return state[name]


def renamed(state: Mapping[str, Value], names: Names, what: str) -> dict[str, Value]:
    """Give a state dict our names.

    Raises:
        InvalidFixture: Names are unknown. The message lists them.
    """
    ours, unknown = {}, []
    for name, value in state.items():
        try:
            ours[names([name])[name]] = value
        except KeyError:
            unknown.append(name)
    if unknown:
        raise InvalidFixture(
            f"{what} holds {len(unknown)} unknown parameters ({names_in_short(sorted(unknown))}); "
            f"use a file of the released model"
        )
    return ours


def _loaded(module: Module, state: Mapping[str, Tensor], what: str) -> Module:
    try:
        module.load_state_dict(state, strict=True)
    except RuntimeError as error:
        reason = " ".join(str(error).split())
        raise InvalidFixture(f"the {what}'s parameters do not fit: {reason}") from None
    return module.eval().requires_grad_(False)
