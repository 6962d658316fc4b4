"""`layert2v-train`: the stages one by one, or all of them.

Every command resumes what its output folder holds. What was learned is in `docs/log.md`.
"""

import logging
import shutil
from dataclasses import replace
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import cv2
import torch
import typer
from diffusers import AutoencoderKLWan
from torch import Tensor

from layert2v_model.alpha_vae import load_project_in
from layert2v_model.folder import read_transformer
from layert2v_model.transformer import LayerT2VTransformer3DModel
from layert2v_training.alpha_vae import train_alpha_vae
from layert2v_training.assets import AssetsUnavailable, fetch_assets
from layert2v_training.captions import CaptionStates
from layert2v_training.export import export, text_encoder_folder
from layert2v_training.joint import make_transformer, project_alphas, train_joint
from layert2v_training.latents import LatentClip, load_latents
from layert2v_training.linear_vae import channel_weights
from layert2v_training.loop import CHECKPOINT
from layert2v_training.multi_foreground import (
    RUN,
    multi_foreground_scene,
    train_multi_foreground,
)
from layert2v_training.recipes import RECIPES, Recipe
from layert2v_training.scenes import SceneRecipe, SceneSource
from layert2v_training.vae import train_vae

app = typer.Typer(help=__doc__, no_args_is_help=True, pretty_exceptions_enable=False)

JOINT_RUN = "run-joint"


class RecipeName(StrEnum):
    """Recipes by name, as in `recipes.RECIPES`."""

    TINY = "tiny"
    DEBUG = "debug"


Assets = Annotated[Path, typer.Option(help="Folder for the pictures; fetched when empty.")]
Out = Annotated[Path, typer.Option(help="Folder of the run: checkpoints, VAEs, events.")]
Named = Annotated[RecipeName, typer.Option("--recipe", help="Which recipe.")]
Steps = Annotated[int | None, typer.Option(min=1, help="Override the stage's number of steps.")]

Init = Annotated[
    Path | None,
    typer.Option(help="Model folder to go on from: its VAEs, and its transformer at step 0."),
]
Compiled = Annotated[
    bool, typer.Option("--compile", help="Compile the blocks: faster after a minute; needs g++.")
]

DEFAULT_ASSETS, DEFAULT_OUT = Path("cache/assets"), Path("runs/tiny")
DEFAULT_RECIPE = RecipeName.TINY


def _recipe(name: RecipeName) -> Recipe:
    cv2.setNumThreads(1)
    return RECIPES[name.value]()


def _fetched(assets: Path) -> Path:
    try:
        return fetch_assets(assets)
    except AssetsUnavailable as error:
        typer.echo(str(error), err=True)
        raise typer.Exit(2) from error


def _needs(path: Path, command: str) -> Path:
    if not path.exists():
        typer.echo(f"{path} is missing; run `layert2v-train {command}` first", err=True)
        raise typer.Exit(2)
    return path


@app.command()
def vae(
    assets: Assets = DEFAULT_ASSETS,
    out: Out = DEFAULT_OUT,
    recipe: Named = DEFAULT_RECIPE,
    steps: Steps = None,
) -> None:
    """Make the small VAE: encoder in closed form, decoder trained. Writes OUT/vae."""
    chosen = _recipe(recipe)
    loop = replace(chosen.vae, num_steps=steps or chosen.vae.num_steps)
    train_vae(_fetched(assets), out, chosen.scene, loop, num_clips=chosen.vae_clips)


@app.command("alpha-vae")
def alpha_vae(
    assets: Assets = DEFAULT_ASSETS, out: Out = DEFAULT_OUT, recipe: Named = DEFAULT_RECIPE
) -> None:
    """Stage 1: adapt the VAE to mattes. Writes OUT/alpha_vae."""
    chosen = _recipe(recipe)
    model = _vae(out)
    scene = replace(chosen.scene, seed=21)
    train_alpha_vae(_fetched(assets), out, model, scene, chosen.alpha_vae)


def _adopt_vaes(init: Path | None, out: Path) -> None:
    """Copy the VAEs of a model folder to a run that has none yet."""
    for name in ("vae", "alpha_vae"):
        if init is not None and not (out / name).exists():
            shutil.copytree(_needs(init / name, "export"), out / name)


def _vae(out: Path) -> AutoencoderKLWan:
    return AutoencoderKLWan.from_pretrained(_needs(out / "vae", "vae"), torch_dtype=torch.float32)


def _latents(
    assets: Path, out: Path, scene: SceneRecipe, chosen: Recipe
) -> tuple[list[LatentClip], CaptionStates, Tensor]:
    """Give a stage its clips, the states of their captions, and its loss's weights of channels."""
    model = _vae(out)
    clips = load_latents(out / "latents", model, SceneSource(assets, scene), chosen.num_clips)
    project_in = load_project_in(_needs(out / "alpha_vae", "alpha-vae"))
    projected = project_alphas(clips, project_in)
    return projected, CaptionStates(text_encoder_folder()), channel_weights(model)


def _transformer(
    chosen: Recipe, checkpoint: Path | None, init: Path | None = None
) -> LayerT2VTransformer3DModel:
    torch.manual_seed(chosen.joint.loop.seed)
    model = make_transformer(chosen.transformer)
    if init is not None:
        before = read_transformer(init, torch.float32)
        model.load_state_dict(before.state_dict(), strict=True)
        if before.config.prediction_type != model.config.prediction_type:
            # A head that said noise - picture and is to say the picture: right but for the noise.
            with torch.no_grad():
                model.proj_out.weight.neg_()
                model.proj_out.bias.neg_()
    elif checkpoint is not None:
        state = torch.load(checkpoint, weights_only=True)
        model.load_state_dict(state["ema"], strict=True)
    return model


@app.command()
def joint(
    assets: Assets = DEFAULT_ASSETS,
    out: Out = DEFAULT_OUT,
    recipe: Named = DEFAULT_RECIPE,
    steps: Steps = None,
    compiled: Compiled = False,
    init: Init = None,
) -> None:
    """Stage 2: joint layers with one foreground."""
    chosen = _recipe(recipe)
    _adopt_vaes(init, out)
    scene = replace(chosen.joint_scene, foregrounds=(1,), seed=11)
    clips, captions, weights_C = _latents(_fetched(assets), out, scene, chosen)
    loop = replace(chosen.joint.loop, num_steps=steps or chosen.joint.loop.num_steps)
    model = _transformer(chosen, None, init)
    if compiled:
        model.compile_repeated_blocks(dynamic=False)
    stage = replace(chosen.joint, loop=loop)
    train_joint(out, model, clips, captions, stage, JOINT_RUN, weights_C)


@app.command("multi-foreground")
def multi_foreground(
    assets: Assets = DEFAULT_ASSETS,
    out: Out = DEFAULT_OUT,
    recipe: Named = DEFAULT_RECIPE,
    steps: Steps = None,
    compiled: Compiled = False,
    init: Init = None,
) -> None:
    """Stage 3: several foregrounds and given layers, going on from stage 2 or from --init."""
    chosen = _recipe(recipe)
    _adopt_vaes(init, out)
    scene = multi_foreground_scene(chosen)
    clips, captions, weights_C = _latents(_fetched(assets), out, scene, chosen)
    before = None if init else _needs(out / JOINT_RUN / CHECKPOINT, "joint")
    model = _transformer(chosen, before, init)
    if compiled:
        model.compile_repeated_blocks(dynamic=False)
    stage = chosen.multi_foreground
    loop = replace(stage.loop, num_steps=steps or stage.loop.num_steps)
    shortened = replace(chosen, multi_foreground=replace(stage, loop=loop))
    train_multi_foreground(out, model, clips, captions, shortened, weights_C)


@app.command("export")
def export_model(
    folder: Annotated[Path, typer.Argument(help="Model folder to write.")],
    out: Out = DEFAULT_OUT,
    recipe: Named = DEFAULT_RECIPE,
    run: Annotated[str, typer.Option(help="Run whose averaged parameters to take.")] = RUN,
) -> None:
    """Write a model folder from a run's averaged parameters."""
    chosen = _recipe(recipe)
    checkpoint = _needs(out / run / CHECKPOINT, run.removeprefix("run-"))
    export(out, folder, chosen, _transformer(chosen, checkpoint))


@app.command()
def tiny(assets: Assets = DEFAULT_ASSETS, out: Out = DEFAULT_OUT) -> None:
    """All of it: VAE, stages 1 to 3, and the model folder OUT/model."""
    vae(assets, out)
    alpha_vae(assets, out)
    joint(assets, out)
    multi_foreground(assets, out)
    export_model(out / "model", out)


def main() -> None:
    """Run the command line."""
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s")
    app()
