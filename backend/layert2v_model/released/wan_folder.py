"""A Wan2.1 text-to-video folder, in its authors' layout or in diffusers'.

Transformer and text encoder stay mapped files. Only the VAE is built.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from diffusers import AutoencoderKLWan
from torch import Tensor
from transformers import UMT5Config

from layert2v_model.errors import DamagedModel, InvalidCheckpoint
from layert2v_model.folders.model_folder import READ_ERRORS, read_vae
from layert2v_model.released.modules import renamed, transformer_settings, vae_from_released
from layert2v_model.released.names import text_encoder_names, transformer_names
from layert2v_model.released.wan_kinds import check_is_wan21_t2v, check_tensors_are_of_t2v
from layert2v_model.released.wan_settings import check_settings
from layert2v_model.weights.checks import check_finite, check_kinds
from layert2v_model.weights.file_heads import unreadable
from layert2v_model.weights.pickled_files import read_pickled
from layert2v_model.weights.tensor_names import plain_names
from layert2v_model.weights.weight_files import is_state_dict, read_json, read_safetensors

TRANSFORMER_FILES = "diffusion_pytorch_model*.safetensors"
VAE_FILE = "Wan2.1_VAE.pth"
TEXT_ENCODER_FILE = "models_t5_umt5-xxl-enc-bf16.pth"
TOKENIZER_FOLDER = "google/umt5-xxl"

WAN = {"patch_size": (1, 2, 2), "text_dim": 4096}
"""Source: Wan2.1, defaults of its `WanModel`."""

TIED_EMBEDDING = "encoder.embed_tokens.weight"
"""The text encoder's second name for `shared.weight`."""

DIFFUSERS_SETTINGS = (
    "patch_size",
    "num_attention_heads",
    "attention_head_dim",
    "in_channels",
    "out_channels",
    "text_dim",
    "freq_dim",
    "ffn_dim",
    "num_layers",
    "cross_attn_norm",
    "qk_norm",
    "eps",
    "image_dim",
    "added_kv_proj_dim",
    "rope_max_seq_len",
)
"""Settings that a `WanTransformer3DModel` has in common with ours."""


@dataclass(frozen=True, eq=False)
class WanFolder:
    """A base model."""

    transformer: Mapping[str, Tensor]
    """Mapped tensors under our names. There is no LayerAdaLN among them."""
    settings: Mapping[str, Any]
    """Arguments of `LayerT2VTransformer3DModel`."""
    vae: AutoencoderKLWan
    """Float32."""
    text_encoder: Mapping[str, Tensor]
    """Mapped tensors under transformers' names, the tied embedding once."""
    text_config: UMT5Config
    """The text encoder's settings."""
    tokenizer: Path
    """A folder."""
    notes: tuple[str, ...] = ()
    """Changes made while reading the files, a sentence for each."""


def read_wan_folder(folder: Path) -> WanFolder:
    """Open a base model of either layout.

    Raises:
        InvalidCheckpoint: Files are missing (lists all) or broken.
        InvalidFixture: Tensors are not those of a Wan model.
    """
    check_is_wan21_t2v(folder)
    if (folder / "transformer").is_dir():
        return _read_diffusers(folder)
    return _read_original(folder)


def _read_original(folder: Path) -> WanFolder:
    tokenizer = folder / TOKENIZER_FOLDER
    paths = _present(
        folder,
        ["config.json", TRANSFORMER_FILES, VAE_FILE, TEXT_ENCODER_FILE],
        tokenizer,
    )
    transformer_place = f"the transformer in {folder}"
    state, transformer_notes = _plain(read_safetensors(paths[TRANSFORMER_FILES]), transformer_place)
    check_tensors_are_of_t2v(state, transformer_place)
    config = read_json(folder / "config.json")
    check_settings(folder / "config.json", config)
    text_state, text_notes = _pickled_state(folder / TEXT_ENCODER_FILE)
    text_encoder = renamed(text_state, text_encoder_names, f"{folder / TEXT_ENCODER_FILE}")
    vae_state, vae_notes = _pickled_state(folder / VAE_FILE)
    check_finite(vae_state, str(folder / VAE_FILE))
    return WanFolder(
        transformer=renamed(state, transformer_names, transformer_place),
        settings=transformer_settings(state, _unsaid(state) | config),
        vae=vae_from_released(vae_state, vae_settings(vae_state)),
        text_encoder=text_encoder,
        text_config=text_config_of(text_encoder),
        tokenizer=tokenizer,
        notes=(*transformer_notes, *text_notes, *vae_notes),
    )


def _unsaid(state: Mapping[str, Tensor]) -> dict[str, Any]:
    """Give what no published config says and a damaged set of tensors does not tell either.

    So that all that is missing is listed, and not just the first tensor that tells a size.
    """
    tells = {"patch_size": "patch_embedding.weight", "text_dim": "text_embedding.0.weight"}
    return {setting: WAN[setting] for setting, name in tells.items() if name not in state}


def _read_diffusers(folder: Path) -> WanFolder:
    parts = [
        "transformer/config.json",
        f"transformer/{TRANSFORMER_FILES}",
        "vae/config.json",
        f"vae/{TRANSFORMER_FILES}",
        "text_encoder/config.json",
        "text_encoder/model*.safetensors",
    ]
    paths = _present(folder, parts, folder / "tokenizer")
    config = read_json(folder / "transformer/config.json")
    check_settings(folder / "transformer/config.json", config)
    transformer_place = f"the transformer in {folder}"
    state = read_safetensors(paths[f"transformer/{TRANSFORMER_FILES}"])
    transformer, notes = _plain(state, transformer_place)
    check_tensors_are_of_t2v(transformer, transformer_place)
    text_encoder = read_safetensors(paths["text_encoder/model*.safetensors"])
    tied = text_encoder.pop(TIED_EMBEDDING, None)
    if tied is not None:
        text_encoder.setdefault("shared.weight", tied)
    text_settings = read_json(folder / "text_encoder/config.json")
    check_kinds(text_encoder, f"the text encoder in {folder}")
    try:
        vae = read_vae(folder, "vae")
        text_config = UMT5Config(**text_settings)
    except DamagedModel as error:
        raise InvalidCheckpoint(str(error)) from None
    except READ_ERRORS as error:
        raise unreadable(folder / "text_encoder/config.json", error) from None
    return WanFolder(
        transformer=transformer,
        settings={name: config[name] for name in DIFFUSERS_SETTINGS if name in config},
        vae=vae,
        text_encoder=text_encoder,
        text_config=text_config,
        tokenizer=folder / "tokenizer",
        notes=notes,
    )


def _present(folder: Path, patterns: Iterable[str], tokenizer: Path) -> dict[str, list[Path]]:
    """Find files by pattern. Every pattern must match, and the tokenizer must have words."""
    found = {pattern: sorted(folder.glob(pattern)) for pattern in patterns}
    missing = [pattern for pattern, paths in found.items() if not paths]
    if not any((tokenizer / name).is_file() for name in ("tokenizer.json", "spiece.model")):
        missing.append(f"{tokenizer.relative_to(folder).as_posix()}/tokenizer.json")
    if missing:
        raise InvalidCheckpoint(
            f"{folder} lacks {', '.join(missing)}; give a whole Wan2.1-T2V folder, in its authors' "
            f"layout or in diffusers'"
        )
    return found


def _pickled_state(path: Path) -> tuple[dict[str, Tensor], tuple[str, ...]]:
    content = read_pickled(path)
    if isinstance(content, dict) and len(content) == 1:
        content = content.get("state_dict", content)
    if not is_state_dict(content):
        raise unreadable(path, "it does not hold tensors by name")
    return _plain(content, str(path))


def _plain(state: Mapping[str, Tensor], source: str) -> tuple[dict[str, Tensor], tuple[str, ...]]:
    """Check the tensors' kinds and take wrappers off their names. Also tell what it took off."""
    check_kinds(state, source)
    names, notes = plain_names(state, source)
    return {plain: state[name] for name, plain in names.items()}, notes


def vae_settings(state: Mapping[str, Tensor]) -> dict[str, Any]:
    """Read a Wan VAE's sizes off its released tensors, for `vae_from_released`.

    Raises:
        InvalidCheckpoint: A tensor that tells a size is missing.
    """
    for name in ("encoder.conv1.weight", "conv2.weight", "encoder.downsamples.0.residual.2.weight"):
        if name not in state:
            raise InvalidCheckpoint(f"{VAE_FILE} lacks {name}; give the unchanged file of Wan2.1")
    dim = state["encoder.conv1.weight"].shape[0]
    widths: list[list[int]] = [[]]
    temporal: list[bool] = []
    flat = 0
    while any(name.startswith(f"encoder.downsamples.{flat}.") for name in state):
        place = f"encoder.downsamples.{flat}"
        if f"{place}.residual.2.weight" in state:
            widths[-1].append(state[f"{place}.residual.2.weight"].shape[0])
        else:
            temporal.append(f"{place}.time_conv.weight" in state)
            widths.append([])
        flat += 1
    return {
        "dim": dim,
        "z_dim": state["conv2.weight"].shape[0],
        "dim_mult": [stage[-1] // dim if stage else 1 for stage in widths],
        "num_res_blocks": len(widths[0]),
        "temporal_downsample": temporal,
    }


def text_config_of(state: Mapping[str, Tensor]) -> UMT5Config:
    """Read an umT5 encoder's sizes off its tensors, under transformers' names.

    Raises:
        InvalidCheckpoint: A tensor that tells a size is missing.
    """
    block = "encoder.block.0.layer"
    try:
        vocab_size, d_model = state["shared.weight"].shape
        buckets, num_heads = state[f"{block}.0.SelfAttention.relative_attention_bias.weight"].shape
        inner = state[f"{block}.0.SelfAttention.q.weight"].shape[0]
        d_ff = state[f"{block}.1.DenseReluDense.wi_1.weight"].shape[0]
    except KeyError as error:
        raise InvalidCheckpoint(
            f"{TEXT_ENCODER_FILE} lacks the tensors for {error}; give the unchanged file of Wan2.1"
        ) from None
    blocks = {int(name.split(".")[2]) for name in state if name.startswith("encoder.block.")}
    return UMT5Config(
        vocab_size=vocab_size,
        d_model=d_model,
        d_kv=inner // num_heads,
        d_ff=d_ff,
        num_layers=1 + max(blocks),
        num_heads=num_heads,
        relative_attention_num_buckets=buckets,
    )
