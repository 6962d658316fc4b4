"""The transformer of a stage: where its first weights come from, and what of it learns."""

import inspect
import json
from pathlib import Path
from typing import Any

import torch

from layert2v_model.errors import DamagedModel, reason_of
from layert2v_model.folders.model_folder import read_transformer
from layert2v_model.network.transformer import LayerT2VTransformer3DModel
from layert2v_model.released.wan_folder import WanFolder
from layert2v_training.learning.checkpoint import CheckpointMismatch
from layert2v_training.runs.overrides import InvalidRecipe
from layert2v_training.runs.recipes import Recipe
from layert2v_training.runs.wan import wan_transformer
from layert2v_training.stages.joint import JointRecipe, make_transformer
from layert2v_training.stages.lora import add_lora

_SIZES = (
    "patch_size", "num_attention_heads", "attention_head_dim", "in_channels", "out_channels",
    "text_dim", "freq_dim", "ffn_dim", "num_layers", "cross_attn_norm", "qk_norm",
    "max_foregrounds",
)  # fmt: skip
"""Settings that decide the names or shapes of parameters."""


def check_init(init: Path, recipe: Recipe) -> None:
    """Compare a model folder with the recipe: its family, and the sizes in its config.

    Models of one family have the same text encoder and VAE: Wan2.1's own, which lie in the folder,
    or the small ones of recipes without a base.

    Raises:
        InvalidRecipe: One differs. The message names it, both values and the remedy.
        DamagedModel: The folder holds no transformer.
    """
    path = init / "transformer" / "config.json"
    try:
        config = json.loads(path.read_text())
    except (OSError, ValueError) as error:
        raise DamagedModel(
            f"{path} cannot be read ({reason_of(error, path)}); give a model folder as --init"
        ) from None
    _check_family(init, recipe)
    parameters = inspect.signature(LayerT2VTransformer3DModel.__init__).parameters
    for name in _SIZES:
        theirs = config.get(name, parameters[name].default)
        ours = recipe.transformer.get(name, theirs)
        if _plain(ours) != _plain(theirs):
            raise InvalidRecipe(
                f"transformer.{name} is {ours} and --init {init} has {theirs}; set "
                f"transformer.{name}={theirs} or give another --init"
            )


def _check_family(init: Path, recipe: Recipe) -> None:
    families = {"none": "a small model", "wan": "a model on Wan2.1"}
    family = "wan" if (init / "text_encoder").is_dir() else "none"
    if family != recipe.base:
        remedy = {"none": "such as --recipe tiny", "wan": "such as --recipe wan2.1-1.3b"}[family]
        raise InvalidRecipe(
            f"--init {init} is {families[family]} and the recipe {recipe.name} is for "
            f"{families[recipe.base]}: choose a recipe of its kind, {remedy}, or another --init"
        )


def _plain(value: Any) -> Any:
    """Make a list of a tuple, as JSON and YAML do."""
    return list(value) if isinstance(value, tuple) else value


def stage_transformer(
    recipe: Recipe,
    stage: JointRecipe,
    *,
    base: WanFolder | None = None,
    init: Path | None = None,
    checkpoint: Path | None = None,
) -> LayerT2VTransformer3DModel:
    """Make a stage's transformer.

    Args:
        recipe: Recipe of the run.
        stage: Recipe of the stage, in which adapters learn or everything.
        base: Wan's weights.
        init: A model folder, whose weights come instead of Wan's.
        checkpoint: Checkpoint of a run of the same kind, whose averages are then put in.

    Raises:
        InvalidRecipe: Adapters have nothing to adapt, or the base or `init` has another size.
        CheckpointMismatch: The checkpoint is of another model.
    """
    if stage.lora and base is None and init is None:
        raise InvalidRecipe("lora adapts a model, but none is given; give --base or --init")
    torch.manual_seed(recipe.joint.loop.seed)
    if init is not None:
        check_init(init, recipe)
        before = read_transformer(init, torch.float32)
        model = make_transformer({**_settings(before), **recipe.transformer})
        model.load_state_dict(before.state_dict(), strict=True)
    elif base is not None:
        model = wan_transformer(base, recipe.transformer)
    else:
        model = make_transformer(recipe.transformer)
    if stage.lora:
        add_lora(model, stage.lora)
    if checkpoint is not None:
        load_average(model, checkpoint)
    return model


def _settings(model: LayerT2VTransformer3DModel) -> dict[str, Any]:
    names = inspect.signature(LayerT2VTransformer3DModel.__init__).parameters
    return {name: value for name, value in model.config.items() if name in names}


@torch.no_grad()
def load_average(model: LayerT2VTransformer3DModel, checkpoint: Path) -> None:
    """Put a checkpoint's averages, by name, into the parameters of `model` that learn.

    Raises:
        CheckpointMismatch: Their names or shapes are others.
    """
    averages = torch.load(checkpoint, weights_only=True, map_location="cpu")["ema"]
    learning = {name: p for name, p in model.named_parameters() if p.requires_grad}
    for name in sorted(averages.keys() | learning.keys()):
        stored, own = averages.get(name), learning.get(name)
        if stored is None or own is None or stored.shape != own.shape:
            raise CheckpointMismatch(
                f"{checkpoint} is of another model, {name} differs; use the recipe it was made with"
            )
        own.copy_(stored)
