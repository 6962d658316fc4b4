"""Average two models of one kind: their strengths meet half way, without training.

    layert2v-train average models/a models/b --out models/middle

Weights that were trained on from one another usually have all their averages between them in the
same valley. An average has both the skills that the second learned and those that the first kept.

Sources:
    Wortsman et al., "Model soups", ICML 2022; "Robust fine-tuning of zero-shot models", CVPR 2022.
"""

import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch
from diffusers import AutoencoderKLWan
from safetensors import safe_open
from safetensors.torch import save_file
from torch import Tensor

from layert2v_model.folders.export import write_card
from layert2v_model.folders.model_folder import (
    read_card,
    read_project_in,
    read_transformer,
    read_vae,
)


class CannotAverage(ValueError):
    """Raised when two models are not of one kind, or the place to write is taken."""


def average(model: Path, other: Path, out: Path, share: float = 0.5) -> None:
    """Write `model` with the transformer's parameters averaged with those of `other`.

    Everything else is `model`'s. The card names the new folder and says what was averaged.

    Args:
        model: Model folder.
        other: Model folder whose latents mean the same: of the same encoders.
        out: Model folder to write. It must not exist.
        share: Share of `other`, in [0, 1].

    Raises:
        CannotAverage: Says what differs, or that `out` exists.
        DamagedModel: A folder is not a whole model.
    """
    if not 0 <= share <= 1:
        raise CannotAverage(f"the other model's share is {share}: choose one from 0 to 1")
    if out.exists():
        raise CannotAverage(f"{out} exists: name another folder, or remove it")
    card = read_card(model)
    _check_alike(model, other)
    theirs = read_transformer(other, torch.float32).state_dict()
    shutil.copytree(model, out)
    for path in sorted((out / "transformer").glob("*.safetensors")):
        _average_file(path, theirs, share)
    said = card.get("description", "")
    words = f"averaged with {share:g} of {read_card(other).get('id', other.name)}"
    write_card(out, {**card, "id": out.resolve().name, "description": f"{said}, {words}"})


def _average_file(path: Path, theirs: dict[str, Tensor], share: float) -> None:
    """Average a file of parameters in place, in the precision that it has."""
    with safe_open(path, "pt") as file:
        metadata = file.metadata()
        mine = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    mixed = {
        name: torch.lerp(tensor.float(), theirs[name], share).to(tensor.dtype)
        for name, tensor in mine.items()
    }
    save_file(mixed, path, metadata)


def _check_alike(model: Path, other: Path) -> None:
    differing = [name for name, same in _compared(model, other) if not same]
    if differing:
        raise CannotAverage(
            f"{model} and {other} differ in {' and '.join(differing)}: average models that were "
            "trained on from one another"
        )


def _compared(model: Path, other: Path) -> Iterator[tuple[str, bool]]:
    """Compare what two models must have in common: the network, and what makes latents."""
    mine, theirs = (_settings(folder) for folder in (model, other))
    yield "the transformer's settings", mine == theirs
    encoders = [_encoder(read_vae(folder, "vae")) for folder in (model, other)]
    yield "the VAE's encoder", _same(*encoders)
    yield "project_in", _same(*(read_project_in(f).state_dict() for f in (model, other)))


def _settings(folder: Path) -> dict[str, Any]:
    config = read_transformer(folder, torch.bfloat16).config  # whole, or refused as damaged
    return {name: value for name, value in config.items() if not name.startswith("_")}


def _encoder(vae: AutoencoderKLWan) -> dict[str, Tensor]:
    parts = ("encoder.", "quant_conv.")
    return {name: x for name, x in vae.state_dict().items() if name.startswith(parts)}


def _same(mine: dict[str, Tensor], theirs: dict[str, Tensor]) -> bool:
    return mine.keys() == theirs.keys() and all(torch.equal(mine[k], theirs[k]) for k in mine)
