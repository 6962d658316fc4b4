"""A pipeline written as a model folder."""

import copy
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import nn

from layert2v_model.errors import NotFinite
from layert2v_model.folders.model_folder import CARD_FILE, file_sha256
from layert2v_model.vae.alpha_vae import save_project_in


def save_pipeline(
    pipeline: Any,
    folder: Path,
    card: Mapping[str, Any],
    *,
    dtype: torch.dtype = torch.float16,
    with_text_encoder: bool = False,
) -> None:
    """Write a pipeline as a model folder that `load_pipeline` takes.

    Args:
        pipeline: A `LayerT2VPipeline` with its `project_in`; it is left as it is.
        folder: Created if need be. Files of the same names are overwritten.
        card: The content of `layert2v.json`. SHA-256 of the weights are added under `files`.
        dtype: Type of the weights in the files.
        with_text_encoder: Whether to write tokenizer and text encoder too. Otherwise the card
            names the package they come from.

    Raises:
        NotFinite: A parameter is not finite in `dtype`. Nothing is written.
    """
    if pipeline.project_in is None:
        raise ValueError("the pipeline has no project_in; set it before saving")
    parts = {name: _cast(part, dtype) for name, part in pipeline.components.items()}
    if not with_text_encoder:
        parts |= {"text_encoder": None, "tokenizer": None}
    type(pipeline)(**parts).save_pretrained(folder, safe_serialization=True)
    save_project_in(_cast(pipeline.project_in, dtype), folder / "alpha_vae")
    write_card(folder, card)


def write_card(folder: Path, card: Mapping[str, Any]) -> None:
    """Write `layert2v.json` with the SHA-256 of all weights that lie in `folder` by now."""
    weights = sorted(folder.glob("*/*.safetensors"))
    hashes = {path.relative_to(folder).as_posix(): file_sha256(path) for path in weights}
    (folder / CARD_FILE).write_text(json.dumps({**card, "files": hashes}, indent=2) + "\n")


def _cast(part: Any, dtype: torch.dtype) -> Any:
    """Copy a network with all parameters in `dtype`; hand anything else through.

    Raises:
        NotFinite: A parameter is not finite in `dtype`: it was trained to death, or is too large.
    """
    if not isinstance(part, nn.Module):
        return part
    copied = copy.deepcopy(part)
    for name, parameter in copied.named_parameters():
        parameter.data = parameter.data.to(dtype)
        if not torch.isfinite(parameter.data).all():
            raise NotFinite(
                f"{name} is not finite in {dtype}: save in a larger precision, or train again from "
                f"a whole checkpoint"
            )
    return copied
