"""The work of each command of `layert2v-train` on a run, one function for each stage."""

from dataclasses import replace
from pathlib import Path

import torch
from accelerate import PartialState

from layert2v_model.files.durable import replacing_folder
from layert2v_model.vae.alpha_vae import load_project_in, save_alpha_vae
from layert2v_training.cache.latents import LatentClip, load_latents, write_latents
from layert2v_training.codecs.linear_vae import channel_weights, is_linear
from layert2v_training.learning.checkpoint import CHECKPOINT
from layert2v_training.runs.model_export import (
    Training,
    check_model_folder,
    export,
)
from layert2v_training.runs.run import JOINT_RUN, MULTI_FOREGROUND_RUN, MissingPart, Run
from layert2v_training.runs.run_binding import check_export
from layert2v_training.runs.sheets import SampleSheet
from layert2v_training.runs.stage_network import stage_transformer
from layert2v_training.runs.trained_on import trained_in, trained_on
from layert2v_training.stages.alpha_vae_training import train_alpha_vae
from layert2v_training.stages.decoded import DecodedLosses
from layert2v_training.stages.decoders import FrameMaker, join_frames, train_decoder
from layert2v_training.stages.joint import train_joint
from layert2v_training.stages.lora import merge_lora
from layert2v_training.stages.vae_training import train_vae


def run_vae(run: Run) -> None:
    """Make the small VAE of recipes that have no base: `OUT/vae`.

    Raises:
        MissingPart: The recipe has a base, whose VAE is used.
    """
    if run.recipe.base != "none":
        raise MissingPart(f"{run.recipe.name} uses its base's VAE; begin with alpha-vae")
    recipe = run.recipe
    run.bind("run-vae", "alpha-vae")
    train_vae(
        run.pictures(),
        run.out,
        recipe.scene,
        recipe.vae,
        recipe.vae_size,
        num_clips=recipe.vae_clips,
        batch_size=recipe.vae_batch_size,
        num_workers=run.workers,
    )


def run_alpha_vae(run: Run) -> None:
    """Adapt the VAE to mattes: `OUT/alpha_vae`."""
    if run.recipe.base == "none" and run.init is None:
        run.needs("vae", "vae")
    run.bind("run-alpha-vae", "alpha-vae")
    with PartialState().main_process_first():
        run.adopt_vaes()
    vae = run.vae().to(PartialState().device)
    recipe = replace(run.recipe.alpha_vae, num_clips=run.num_alpha_clips)
    train_alpha_vae(run.clips("alpha-vae"), run.out, vae, recipe, run.workers)


def run_latents(run: Run, stage: str) -> None:
    """Encode the clips of a stage ahead of it, while another trains, say."""
    sources = run.sources(stage)
    with PartialState().main_process_first():
        run.adopt_vaes()
    vae = run.vae()
    for source, num_clips in sources:
        write_latents(run.out / "latents", vae, source, num_clips, run.workers, run.fill)


def run_joint(run: Run, stage: str, *, is_compiled: bool = False) -> None:
    """Train stage `joint` or `multi-foreground`. The latter goes on from the former or `init`."""
    recipe, is_first = run.stage(stage), stage == "joint"
    name = JOINT_RUN if is_first else MULTI_FOREGROUND_RUN
    before = None
    if not is_first and run.init is None:
        before = run.needs(f"{JOINT_RUN}/{CHECKPOINT}", "joint")
    run.bind(name, stage, before)
    with PartialState().main_process_first():
        run.adopt_vaes()
    device = PartialState().device
    vae, alpha_vae = run.vae().to(device), run.vae("alpha_vae")
    model = stage_transformer(run.recipe, recipe, base=run.wan, init=run.init, checkpoint=before)
    clips, project_in = list[LatentClip](), load_project_in(run.out / "alpha_vae")
    for source, num_clips in run.sources(stage):
        clips += load_latents(
            run.out / "latents", vae, source, num_clips, run.workers, run.fill, project_in
        )
    captions = run.captions()
    decoded = None
    if recipe.decoded.is_used:
        is_premultiplied = model.config.foreground_fill == "black"
        decoded = DecodedLosses(vae, alpha_vae, recipe.decoded, is_premultiplied=is_premultiplied)
    if is_compiled:
        # Sizes and numbers of foregrounds are many. Clips and windows still get one each.
        model.compile_repeated_blocks(dynamic=True)
    train_joint(
        run.out,
        model,
        clips,
        captions,
        recipe,
        name,
        channel_weights(vae) if is_linear(vae) else None,
        decoded,
        SampleSheet(model, (vae, alpha_vae), captions, clips[0], run.recipe, recipe.loop),
    )


def run_decoders(run: Run) -> None:
    """Teach both decoders stage 3's own latents: `OUT/vae` and `OUT/alpha_vae`, in place.

    Raises:
        MissingPart: Stage 3 was not run, or the recipe has a base, whose frames are not encoded
            alone.
        BadClips: The user's own cannot be used.
    """
    if run.recipe.base != "none":
        raise MissingPart(f"{run.recipe.name} uses its base's VAE, whose decoder stays as it is")
    device, recipe = PartialState().device, run.recipe.decoders
    checkpoint = run.needs(f"{MULTI_FOREGROUND_RUN}/{CHECKPOINT}", "multi-foreground")
    run.bind("run-decoder", "decoders", checkpoint)
    run.bind("run-alpha-decoder", "decoders", checkpoint)
    model = stage_transformer(
        run.recipe, run.recipe.multi_foreground, init=run.init, checkpoint=checkpoint
    )
    captions = run.captions()
    vae, alpha_vae = run.vae().to(device), run.vae("alpha_vae").to(device)
    project_in = load_project_in(run.out / "alpha_vae").to(device)
    torch.manual_seed(recipe.loop.seed)
    maker = FrameMaker(model.to(device), vae, project_in, captions, recipe)
    colours, mattes = maker.frames(run.clips("decoders"), recipe.num_clips, run.workers)
    if run.data is None and recipe.num_soft_clips:
        source = run.clips("soft-decoders")
        soft = maker.frames(source, recipe.num_soft_clips, run.workers, are_made_again=False)
        # The last are held out. They stay those that were made.
        colours, mattes = join_frames([soft[0], colours]), join_frames([soft[1], mattes])
    train_decoder(run.out / "run-decoder", vae, colours, recipe)
    train_decoder(run.out / "run-alpha-decoder", alpha_vae, mattes, recipe, is_matte=True)
    if PartialState().is_main_process:
        vae.cpu().save_pretrained(run.out / "vae")
        save_alpha_vae(alpha_vae.cpu(), project_in.cpu(), run.out / "alpha_vae")


def run_export(
    run: Run, folder: Path, name: str = MULTI_FOREGROUND_RUN, *, overwrite: bool = False
) -> None:
    """Write a model folder from the averages of one of the run's stages.

    Args:
        run: Run of the recipe that it was trained with.
        folder: Folder of the model.
        name: Name of the stage's run.
        overwrite: Replace a model that the folder holds.

    Raises:
        MissingPart: The stage was not run.
        InvalidOut: The folder holds something.
        RunDiffers: The run was begun with another recipe.
    """
    check_model_folder(folder, overwrite=overwrite)
    stage = name.removeprefix("run-")
    recipe = run.stage(stage)
    checkpoint = run.needs(f"{name}/{CHECKPOINT}", stage)
    check_export(run.out / name, name, run.recipe, base=run.base, init=run.init)
    # Adapters need the weights of `init`. Whole transformers take its sizes.
    model = stage_transformer(
        run.recipe, recipe, base=run.wan, init=run.init, checkpoint=checkpoint
    )
    if recipe.lora:
        merge_lora(model)
    captions = run.captions() if run.recipe.base != "none" else None
    training = Training(
        trained_on(run.out / name, run.out / JOINT_RUN),
        trained_in(run.out / name, run.out / JOINT_RUN),
    )
    with replacing_folder(folder) as draft:
        export(run.out, draft, run.recipe, model, captions, training)
