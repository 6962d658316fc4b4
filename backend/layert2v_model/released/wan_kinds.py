"""The kind of Wan model in a folder. Only Wan2.1's text-to-video model can be a base.

Source of the marks: the published folders of Wan-AI and their copies in diffusers' layout.
"""

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from layert2v_model.errors import InvalidCheckpoint
from layert2v_model.weights.weight_files import read_json

_GIVE = "give a Wan2.1-T2V folder"

_FOLDERS = {
    "transformer_2": "has two transformers, the experts of Wan2.2-A14B",
    "high_noise_model": "has two transformers, the experts of Wan2.2-A14B",
    "low_noise_model": "has two transformers, the experts of Wan2.2-A14B",
    "Wan2.2_VAE.pth": "has the VAE of Wan2.2-TI2V-5B",
}
"""Files and folders that only another model has."""

_TYPES = {
    "i2v": "of type i2v (it animates a picture)",
    "flf2v": "of type flf2v (it goes from one picture to another)",
    "ti2v": "of type ti2v, Wan2.2-TI2V-5B with another VAE",
    "vace": "of type vace (it also takes a video and masks)",
    "s2v": "of type s2v (it follows speech)",
    "animate": "of type animate (it follows a performer)",
}
"""`model_type` of the authors' config."""

_CLASSES = ("WanTransformer3DModel", "LayerT2VTransformer3DModel")
"""Diffusers' class, and ours, which says more than it. The tensors are compared in any case."""

_EXTRA_TENSORS = {
    "vace_": "VACE, which also takes a video and masks",
    "img_emb.": "an image-to-video model",
    "condition_embedder.image_embedder.": "an image-to-video model",
    "ref_conv.": "a model with reference pictures",
    "control_adapter.": "a model with a control video",
}
"""Beginnings of tensor names that text-to-video models lack."""


def check_is_wan21_t2v(folder: Path) -> None:
    """Look at names of files and configs, before any weight is opened.

    Raises:
        InvalidCheckpoint: The folder holds another model. The message says which.
    """
    quantized = sorted([*folder.glob("*.gguf"), *folder.glob("transformer/*.gguf")])
    if quantized:
        raise InvalidCheckpoint(
            f"{quantized[0]} holds GGUF's rounded weights, on which no adapter is exact; {_GIVE} "
            f"in safetensors"
        )
    for name, what in _FOLDERS.items():
        if (folder / name).exists():
            raise InvalidCheckpoint(f"{folder} {what}; {_GIVE}")
    if (folder / "transformer").is_dir():
        _check_diffusers(folder)
    elif (folder / "config.json").is_file():
        _check_type(folder, read_json(folder / "config.json"))


def check_tensors_are_of_t2v(names: Iterable[str], what: str) -> None:
    """Name a model whose tensors tell that it takes more than text.

    Raises:
        InvalidCheckpoint: Some tensor belongs to another model.
    """
    for name in names:
        for begin, model in _EXTRA_TENSORS.items():
            if name.startswith(begin):
                raise InvalidCheckpoint(f"{what} is {model} ({name}); {_GIVE}")


def _check_type(folder: Path, config: Mapping[str, Any]) -> None:
    kind = str(config.get("model_type", "t2v"))
    if kind != "t2v":
        said = _TYPES.get(kind, f"of type {kind[:80]}")
        raise InvalidCheckpoint(f"{folder} is a Wan model {said}; {_GIVE}")


def _check_diffusers(folder: Path) -> None:
    transformer = _optional(folder / "transformer/config.json")
    kind = transformer.get("_class_name", _CLASSES[0])
    if kind not in _CLASSES:
        raise InvalidCheckpoint(f"{folder / 'transformer'} is a {str(kind)[:80]}; {_GIVE}")
    if "quantization_config" in transformer:
        raise InvalidCheckpoint(
            f"{folder / 'transformer'} has rounded weights (quantization_config), on which no "
            f"adapter is exact; {_GIVE} in bfloat16, float16 or float32"
        )
    takes, makes = transformer.get("in_channels", 16), transformer.get("out_channels", 16)
    if transformer.get("image_dim") or transformer.get("added_kv_proj_dim") or takes != makes:
        raise InvalidCheckpoint(
            f"{folder / 'transformer'} also takes pictures (it reads {takes} channels and makes "
            f"{makes}), as Wan's image-to-video and Fun models do; {_GIVE}"
        )
    index = _optional(folder / "model_index.json")
    if index.get("expand_timesteps") or _optional(folder / "vae/config.json").get("is_residual"):
        raise InvalidCheckpoint(f"{folder} is Wan2.2-TI2V-5B, with another VAE; {_GIVE}")
    if index.get("boundary_ratio") is not None:
        raise InvalidCheckpoint(f"{folder} belongs to Wan2.2, which has two transformers; {_GIVE}")


def _optional(path: Path) -> dict[str, Any]:
    return read_json(path) if path.is_file() else {}
