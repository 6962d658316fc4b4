"""The parts that the authors' training adds to a Wan transformer: LoRA, LayerAdaLN, an average.

Names are the release's. Nothing is renamed here. Shape letters: O out, I in, R rank.
"""

import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from torch import Tensor

from layert2v_model.errors import InvalidCheckpoint
from layert2v_model.released.names import transformer_names
from layert2v_model.released.wan_settings import is_count, is_positive
from layert2v_model.weights.checks import check_finite, check_kinds, check_names
from layert2v_model.weights.pickled_files import read_pickled
from layert2v_model.weights.tensor_names import plain_names
from layert2v_model.weights.weight_files import is_state_dict, read_json, read_safetensors

CONFIG_FILE = "adapter_config.json"
WEIGHTS_FILE = "adapter_model.safetensors"
EMA_FILE = "ema/ema_model.pt"

_PREFIX = "base_model.model."
LAYER_MODULATION = "layer_adaln.layer_modulation"
"""The one parameter that is trained whole."""

_DOWN, _UP, _ALPHA = ".lora_A.weight", ".lora_B.weight", ".alpha"

_NEEDED: Mapping[str, Callable[[object], bool]] = {
    "r": is_count,
    "lora_alpha": is_positive,
    "target_modules": lambda value: bool(value) and _is_pattern(value),
}

_PLAIN_LORA: Mapping[str, tuple[object, ...]] = {
    "peft_type": ("LORA",),
    "bias": ("none",),
    "modules_to_save": (["layer_adaln"],),
    "init_lora_weights": (True, False, None, "gaussian", "eva", "orthogonal"),
}
"""Settings of peft that change what the tensors mean, and the values of plain LoRA.

Of the initialisations these leave the base as it was. PiSSA, OLoRA, CorDA, LoftQ and LoRA-GA take
part of it into the adapter, which then is none for the published base.
Source: peft 0.21, `LoraConfig.init_lora_weights`.
"""

_MASK_SETTINGS: Mapping[str, Callable[[object], bool]] = {
    "lora_rank": is_count,
    "lora_alpha": is_positive,
    "proj_hidden": is_count,
}
"""Checks of the settings in `mask_vae_lora.pt`."""

_HARMLESS = frozenset(
    {
        *("auto_mapping", "base_model_name_or_path", "revision", "inference_mode", "task_type"),
        *("peft_version", "lora_dropout", "layers_pattern", "megatron_core", "runtime_config"),
        *("qalora_group_size", "eva_config", "ensure_weight_tying"),
    }
)
"""Settings that change nothing once an adapter is trained.

Any other that is set is refused: a later peft may have added it for a new meaning.
"""

_SAID_LENGTH = 60
"""Characters of a setting's value in a message."""


@dataclass(frozen=True, eq=False)
class Adapter:
    """A trained addition to a Wan transformer."""

    scale: float
    """LoRA's alpha over its rank."""
    factors: Mapping[str, tuple[Tensor, Tensor]]
    """Down (R, I) and up (O, R) of each adapted linear map, by its released name, in the order of
    the model's parameters."""
    layer_modulation: Tensor
    """LayerAdaLN's table, (4, 6, D)."""
    notes: tuple[str, ...] = ()
    """Changes made while reading the files, a sentence for each."""

    def merged(self, module: str, weight_OI: Tensor) -> Tensor:
        """Return a linear map's weight with its LoRA folded in, computed in float32."""
        down_RI, up_OR = self.factors[module]
        return weight_OI.float() + (up_OR.float() @ down_RI.float()) * self.scale


def read_adapter(folder: Path, linear_maps: Iterable[str], *, use_ema: bool) -> Adapter:
    """Read the adapter of a training output.

    Args:
        folder: Holds `adapter_config.json` and `adapter_model.safetensors`.
        linear_maps: Released names of the base transformer's linear maps, in its own order.
        use_ema: Whether to take the averaged values of `ema/ema_model.pt`.

    Raises:
        InvalidCheckpoint: A file is broken, a setting is not plain LoRA's, or tensors are missing
            or unexpected.
    """
    config = read_json(folder / CONFIG_FILE)
    _check_plain(config, folder / CONFIG_FILE)
    path = folder / WEIGHTS_FILE
    all_maps = list(linear_maps)
    state, notes = _plain_state(path, all_maps, float(config["lora_alpha"]))
    modules = _targets(config, all_maps)
    names = [f"{module}{end}" for module in modules for end in (_DOWN, _UP)]
    check_names(state, [*names, LAYER_MODULATION], str(path))
    adapter = Adapter(
        scale=float(config["lora_alpha"]) / int(config["r"]),
        factors={
            module: (state[f"{module}{_DOWN}"], state[f"{module}{_UP}"]) for module in modules
        },
        layer_modulation=state[LAYER_MODULATION],
        notes=notes,
    )
    _check_rank(adapter, int(config["r"]), path)
    return _averaged(adapter, folder / EMA_FILE) if use_ema else adapter


def _plain_state(
    path: Path, linear_maps: Iterable[str], alpha: float
) -> tuple[dict[str, Tensor], tuple[str, ...]]:
    """Read the tensors under the release's names. Also tell which wrappers those had."""
    found = read_safetensors([path])
    check_kinds({n: t for n, t in found.items() if not n.endswith(_ALPHA)}, str(path))
    check_finite(found, str(path))
    # peft puts its own two words before every name; they are expected and not told.
    found = {name.removeprefix(_PREFIX): value for name, value in found.items()}
    names, notes = plain_names(found, str(path), is_lora=True)
    released = {
        f"{ours.removesuffix('.weight')}{end}": f"{theirs.removesuffix('.weight')}{end}"
        for theirs, ours in transformer_names(f"{m}.weight" for m in linear_maps).items()
        for end in (_DOWN, _UP, _ALPHA)
    }
    state = {released.get(plain, plain): found[name] for name, plain in names.items()}
    for name in [name for name in state if name.endswith(_ALPHA)]:
        if state[name].numel() != 1 or float(state[name]) != alpha:
            raise InvalidCheckpoint(
                f"{path} has another scale in {name} than lora_alpha {alpha:g} of {CONFIG_FILE}; "
                f"give the two files of one training output"
            )
        del state[name]
    return state, notes


def _check_plain(config: Mapping[str, Any], path: Path) -> None:
    lacking = [name for name, is_usable in _NEEDED.items() if not is_usable(config.get(name))]
    if lacking:
        raise InvalidCheckpoint(
            f"{path} has no usable {', '.join(lacking)}; give the file that peft wrote"
        )
    for name, value in config.items():
        if name in _NEEDED or name in _HARMLESS:
            continue
        values = _PLAIN_LORA.get(name)
        if (value not in values) if values else value:
            shown = repr(value)
            shown = shown if len(shown) <= _SAID_LENGTH else f"{shown[:_SAID_LENGTH]}…"
            raise InvalidCheckpoint(
                f"{path} sets {name} to {shown}, which may change what the adapter means; in the "
                f"authors' training it is {values[0] if values else 'not set'!r}: make it a plain "
                f"LoRA with peft first"
            )


def _is_pattern(value: object) -> bool:
    """Tell whether a setting is a list of names, or one pattern."""
    if isinstance(value, list):
        return all(isinstance(name, str) for name in value)
    try:
        return isinstance(value, str) and re.compile(value) is not None
    except re.error:
        return False


def _targets(config: Mapping[str, Any], linear_maps: list[str]) -> list[str]:
    """Find the adapted maps: `target_modules` are ends of names, or one pattern.

    They may be of the release or of diffusers.
    """
    targets = config["target_modules"]
    if isinstance(targets, str):
        is_target = re.compile(targets).fullmatch
    else:
        is_target = re.compile("|".join(rf"(.*\.)?{re.escape(end)}" for end in targets)).fullmatch
    ours = transformer_names(f"{module}.weight" for module in linear_maps)
    return [
        module
        for module in linear_maps
        if is_target(module) or is_target(ours[f"{module}.weight"].removesuffix(".weight"))
    ]


def _check_rank(adapter: Adapter, rank: int, path: Path) -> None:
    for module, (down_RI, up_OR) in adapter.factors.items():
        ranks = {down_RI.shape[0], up_OR.shape[-1]}
        if ranks != {rank}:
            raise InvalidCheckpoint(
                f"{path} has rank {sorted(ranks)} at {module}, its config says {rank}; give the "
                f"two files of one training output"
            )


def _averaged(adapter: Adapter, path: Path) -> Adapter:
    """Replace an adapter's values by the average that training kept of them.

    The file is a bare list in the order of the model's parameters. Training also averages the
    untouched copy of LayerAdaLN that peft keeps before the trained one. With one tensor too many,
    the last but one is that copy. Reading the list index by index over both copies, as the release
    does, would put that copy's zeros in place of the trained table.
    """
    values = _shadow_params(path)
    num_expected = 2 * len(adapter.factors) + 1
    if len(values) == num_expected + 1:
        values = [*values[:-2], values[-1]]
    if len(values) != num_expected:
        raise InvalidCheckpoint(
            f"{path} holds {len(values)} tensors, the adapter has {num_expected} (or one more, a "
            f"second LayerAdaLN); give the two of one training output, or leave --ema out"
        )
    pairs = zip(values[:-1:2], values[1:-1:2], strict=True)
    factors = dict(zip(adapter.factors, pairs, strict=True))
    for module, averaged in factors.items():
        _check_shapes(averaged, adapter.factors[module], module, path)
    _check_shapes(values[-1:], [adapter.layer_modulation], LAYER_MODULATION, path)
    return replace(adapter, factors=factors, layer_modulation=values[-1])


def _shadow_params(path: Path) -> list[Tensor]:
    content = read_pickled(path)
    values = content.get("shadow_params") if isinstance(content, dict) else None
    if not isinstance(values, list) or not all(isinstance(value, Tensor) for value in values):
        raise InvalidCheckpoint(
            f"{path} has no list shadow_params of tensors; give the file the training wrote"
        )
    check_finite({f"shadow_params[{k}]": value for k, value in enumerate(values)}, str(path))
    return values


def _check_shapes(
    values: Iterable[Tensor], trained: Iterable[Tensor], name: str, path: Path
) -> None:
    for value, other in zip(values, trained, strict=True):
        if value.shape != other.shape:
            raise InvalidCheckpoint(
                f"{path} has {tuple(value.shape)} where {name} has {tuple(other.shape)}; give the "
                f"two of one training output, or leave --ema out"
            )


def read_mask_vae_lora(path: Path) -> Mapping[str, Any]:
    """Read `mask_vae_lora.pt`: `project_in`, `decoder_lora` and `config`.

    Raises:
        InvalidCheckpoint: It is broken, or lacks a part or a setting.
    """
    content = read_pickled(path)
    parts = content if isinstance(content, dict) else {}
    check_names(parts, ("project_in", "decoder_lora", "config"), str(path))
    is_whole = is_state_dict(parts["project_in"]) and is_state_dict(parts["decoder_lora"])
    if not is_whole or not isinstance(parts["config"], dict):
        raise InvalidCheckpoint(f"{path} holds no tensors by name; give the file training wrote")
    for part in ("project_in", "decoder_lora"):
        check_kinds(parts[part], f"{path}, its {part},")
        check_finite(parts[part], f"{path}, its {part},")
    for setting, is_usable in _MASK_SETTINGS.items():
        if setting in parts["config"] and not is_usable(parts["config"][setting]):
            raise InvalidCheckpoint(f"{path} has no usable {setting}; give the file again")
    if not all(isinstance(value, int | float) for value in parts["config"].values()):
        raise InvalidCheckpoint(f"{path} has settings that are not numbers; give the file again")
    wanted = {"lora_rank", "lora_alpha", "proj_hidden", "proj_res_blocks", "proj_use_attention"}
    check_names(parts["config"].keys() - {"proj_dropout"}, wanted, f"{path}, its config")
    return parts
