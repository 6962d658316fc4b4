"""A Wan2.1 folder and the authors' training output, made into one model folder.

Nothing is read twice and no network is ever whole in memory: tensors go from mapped files through
the merge into shards. What is missing or unexpected is found before anything is written.
"""

import copy
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from diffusers import AutoencoderKLWan, FlowMatchEulerDiscreteScheduler
from diffusers.models.autoencoders.autoencoder_kl_wan import WanCausalConv3d
from safetensors import SafetensorError
from torch import Tensor
from transformers import AutoTokenizer, UMT5EncoderModel

from layert2v_model.errors import InvalidCheckpoint, reason_of
from layert2v_model.files.durable import replacing_folder
from layert2v_model.folders.export import write_card
from layert2v_model.network.transformer import LayerT2VTransformer3DModel
from layert2v_model.pipeline import LayerT2VPipeline
from layert2v_model.released.adapter import (
    CONFIG_FILE,
    EMA_FILE,
    LAYER_MODULATION,
    WEIGHTS_FILE,
    Adapter,
    read_adapter,
    read_mask_vae_lora,
)
from layert2v_model.released.modules import merge_released_lora, project_in_from_released
from layert2v_model.released.names import linear_maps, transformer_names, vae_names
from layert2v_model.released.wan_folder import WanFolder, read_wan_folder
from layert2v_model.vae.alpha_vae import ProjectIn, save_alpha_vae
from layert2v_model.weights.checks import check_names, check_weights
from layert2v_model.weights.weight_files import write_weights

MASK_VAE_FILE = "mask_vae_lora.pt"

OTHER_MASK_FILES = ("mask_vae_projects.pt", "mask_encoder.pt", "mask_decoder.pt", "mask_vae.pt")
"""Files of the release's other ways to encode a matte. None is supported."""

SHIFT = 5.0
"""Shift of the flow's timesteps.

Source: LayerT2V's release, `wan/layered_t2v.py`, default of sampling.
"""

_NUMBERS = "layer_adaln.foreground_modulation"


@dataclass(frozen=True, eq=False)
class Released:
    """All that the model folder will hold, checked, most of it still in mapped files."""

    base: WanFolder
    """The model that the authors trained on."""
    network: LayerT2VTransformer3DModel
    """Ours, empty: on `meta`."""
    adapter: Adapter
    """The parameters that training added to the transformer."""
    alpha_vae: AutoencoderKLWan
    """The decoder LoRA merged in; float32."""
    project_in: ProjectIn
    """The projector of encoded mattes."""

    @property
    def notes(self) -> tuple[str, ...]:
        """Changes made while reading the files, a sentence for each."""
        return (*self.base.notes, *self.adapter.notes)


def read_released(wan: Path, trained: Path, *, use_ema: bool = False) -> Released:
    """Read both folders and check that they are whole and belong together.

    Args:
        wan: Wan2.1-T2V in its authors' layout or in diffusers'.
        trained: A checkpoint folder of the authors' training, of their mask mode `vae-lora`.
        use_ema: Whether to take the average over training instead of the last values.

    Raises:
        InvalidCheckpoint, InvalidFixture: Something is missing, unexpected, broken or of another
            model; lists what.
    """
    _check_files(trained, use_ema=use_ema)
    base = read_wan_folder(wan)
    network = _empty_network(base.settings, wan)
    expected = {k: v for k, v in network.state_dict().items() if not k.startswith("layer_adaln.")}
    check_weights(base.transformer, expected, f"the transformer in {wan}")
    check_weights(base.text_encoder, _text_weights(base), f"the text encoder in {wan}")
    adapter = read_adapter(trained, linear_maps(network.config.num_layers), use_ema=use_ema)
    _check_adapter(adapter, network, trained)
    alpha_vae, project_in = _read_alpha_vae(trained / MASK_VAE_FILE, base.vae)
    _check_fit(base, network)
    return Released(base, network, adapter, alpha_vae, project_in)


def _check_files(trained: Path, *, use_ema: bool) -> None:
    wanted = [CONFIG_FILE, WEIGHTS_FILE, MASK_VAE_FILE, *([EMA_FILE] if use_ema else [])]
    missing = [name for name in wanted if not (trained / name).is_file()]
    if not missing:
        return
    other = [name for name in OTHER_MASK_FILES if (trained / name).is_file()]
    because = f" and holds {', '.join(other)} of a mask mode that is not supported" if other else ""
    raise InvalidCheckpoint(
        f"{trained} lacks {', '.join(missing)}{because}; give a checkpoint folder of stage 2 "
        f"trained with mask mode vae-lora"
    )


def _empty_network(settings: Mapping[str, Any], wan: Path) -> LayerT2VTransformer3DModel:
    own = {"prompt_visibility": "released", "foreground_fill": "black", "max_foregrounds": 1}
    try:
        with torch.device("meta"):
            return LayerT2VTransformer3DModel(**{**settings, **own})
    except (ValueError, TypeError) as error:
        raise InvalidCheckpoint(
            f"the transformer in {wan} is not supported ({error}); give a Wan2.1-T2V folder"
        ) from None


def _empty_text_encoder(base: WanFolder) -> UMT5EncoderModel:
    with torch.device("meta"):
        return UMT5EncoderModel(base.text_config)


def _text_weights(base: WanFolder) -> dict[str, Tensor]:
    weights = _empty_text_encoder(base).state_dict()
    return {name: value for name, value in weights.items() if "embed_tokens" not in name}


def _check_adapter(adapter: Adapter, network: LayerT2VTransformer3DModel, trained: Path) -> None:
    weights = network.state_dict()
    name_of = _weight_names(adapter)
    changed = {LAYER_MODULATION: adapter.layer_modulation}
    for module, (down_RI, up_OR) in adapter.factors.items():
        changed[name_of[module]] = up_OR.new_empty(up_OR.shape[0], down_RI.shape[1], device="meta")
    expected = {name: weights[name] for name in changed}
    check_weights(changed, expected, f"the adapter in {trained}, multiplied out,")


def _weight_names(adapter: Adapter) -> dict[str, str]:
    """Name the weight of each adapted module as we do."""
    renamed = transformer_names(f"{module}.weight" for module in adapter.factors)
    return {name.removesuffix(".weight"): ours for name, ours in renamed.items()}


def _read_alpha_vae(path: Path, vae: AutoencoderKLWan) -> tuple[AutoencoderKLWan, ProjectIn]:
    parts = read_mask_vae_lora(path)
    config, lora = parts["config"], parts["decoder_lora"]
    alpha_vae = copy.deepcopy(vae)
    _check_decoder_lora(lora, alpha_vae, path)
    merge_released_lora(alpha_vae, lora, config["lora_rank"], config["lora_alpha"])
    settings = {
        "hidden_channels": config["proj_hidden"],
        "res_blocks": config["proj_res_blocks"],
        "use_attention": config["proj_use_attention"],
    }
    return alpha_vae, project_in_from_released(parts["project_in"], settings)


def _check_decoder_lora(lora: Mapping[str, Tensor], vae: AutoencoderKLWan, path: Path) -> None:
    """Check that every causal convolution of the decoder has its factors, and nothing else has."""
    convs = [
        name
        for name, module in vae.named_modules()
        if isinstance(module, WanCausalConv3d) and name.startswith(("decoder.", "post_quant_conv"))
    ]
    expected = [f"{conv}.lora_{end}.weight" for conv in convs for end in ("down", "up")]
    check_names([_our_lora_name(name, vae) for name in lora], expected, f"{path}, its decoder_lora")


def _our_lora_name(name: str, vae: AutoencoderKLWan) -> str:
    place, _, end = name.removeprefix("model.").rpartition(".lora_")
    weight = f"{place}.weight"
    try:
        ours = vae_names([weight], len(vae.config.dim_mult), vae.config.num_res_blocks)[weight]
    except KeyError:
        return name
    return f"{ours.removesuffix('.weight')}.lora_{end}"


def _check_fit(base: WanFolder, network: LayerT2VTransformer3DModel) -> None:
    pairs = [
        ("the VAE's z_dim", base.vae.config.z_dim, network.config.in_channels),
        ("the text encoder's width", base.text_config.d_model, network.config.text_dim),
    ]
    for what, value, wanted in pairs:
        if value != wanted:
            raise InvalidCheckpoint(
                f"{what} is {value}, the transformer needs {wanted}; give one Wan folder as it was "
                f"published"
            )


def write_model(released: Released, card: Mapping[str, Any], out: Path, dtype: torch.dtype) -> None:
    """Write a model folder that `load_pipeline` takes. It appears whole or not at all.

    Args:
        released: Model to write.
        card: The content of `layert2v.json`. Hashes are added.
        out: Must not exist, or be an empty folder.
        dtype: Type of the transformer's files. Its norms, time and layer modulation stay float32,
            the VAEs are float32, and the text encoder stays as it was.

    Raises:
        InvalidCheckpoint: The tokenizer cannot be read, or the folder cannot be written.
    """
    try:
        with replacing_folder(out) as draft:
            _write_transformer(released, draft / "transformer", dtype)
            _write_text_encoder(released.base, draft)
            released.base.vae.save_pretrained(draft / "vae")
            save_alpha_vae(released.alpha_vae, released.project_in, draft / "alpha_vae")
            _write_index(released, draft)
            write_card(draft, card)
    except (OSError, SafetensorError) as failure:
        reason = getattr(failure, "strerror", None) or failure
        raise InvalidCheckpoint(
            f"{out} cannot be written: {reason}; free space there or choose another --out"
        ) from failure


def _write_transformer(released: Released, folder: Path, dtype: torch.dtype) -> None:
    adapter, base = released.adapter, released.base.transformer
    module_of = {ours: module for module, ours in _weight_names(adapter).items()}

    def read(name: str) -> Tensor:
        if name == LAYER_MODULATION:
            return adapter.layer_modulation
        if name == _NUMBERS:
            return torch.zeros(planned[name].shape)
        return adapter.merged(module_of[name], base[name]) if name in module_of else base[name]

    exact = set(released.network._keep_in_fp32_modules)
    planned = {
        name: value.to(torch.float32 if exact & set(name.split(".")) else dtype)
        for name, value in released.network.state_dict().items()
    }
    released.network.save_config(folder)
    write_weights(folder, "diffusion_pytorch_model", planned, read, "the transformer")


def _write_text_encoder(base: WanFolder, draft: Path) -> None:
    folder = draft / "text_encoder"
    config = copy.deepcopy(base.text_config)
    config.architectures = [UMT5EncoderModel.__name__]
    config.dtype = base.text_encoder["shared.weight"].dtype
    config.save_pretrained(folder)
    read = base.text_encoder.__getitem__
    write_weights(folder, "model", base.text_encoder, read, "the text encoder")
    shutil.copytree(base.tokenizer, draft / "tokenizer")


def _write_index(released: Released, draft: Path) -> None:
    """Write what makes it a diffusers folder. Networks are named, not written again."""
    try:
        tokenizer = AutoTokenizer.from_pretrained(draft / "tokenizer", local_files_only=True)
    except (OSError, ValueError, KeyError, TypeError, ImportError) as error:
        raise InvalidCheckpoint(
            f"{released.base.tokenizer} cannot be read as a tokenizer "
            f"({reason_of(error, draft / 'tokenizer')}); fetch it again"
        ) from None
    pipeline = LayerT2VPipeline(
        transformer=released.network,
        vae=released.base.vae,
        alpha_vae=released.alpha_vae,
        scheduler=FlowMatchEulerDiscreteScheduler(shift=SHIFT),
        text_encoder=_empty_text_encoder(released.base),
        tokenizer=tokenizer,
    )
    pipeline.save_config(draft)
    pipeline.scheduler.save_pretrained(draft / "scheduler")
