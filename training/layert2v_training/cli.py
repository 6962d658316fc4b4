"""`layert2v-train`: the stages one by one, or all of them.

Every command resumes what its output folder holds. Several processes: `accelerate launch -m
layert2v_training.cli joint ...`. What was learned is in `docs/log.md`.
"""

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import cv2
import typer

from layert2v_model.errors import DamagedModel, InvalidCheckpoint, InvalidFixture
from layert2v_training.assets import AssetsUnavailable
from layert2v_training.checkpoint import CheckpointMismatch, CheckpointNotSaved
from layert2v_training.data.problems import BadClip, BadClips
from layert2v_training.dry_run import DoesNotFit, describe
from layert2v_training.overrides import InvalidRecipe, apply_overrides, read_overrides
from layert2v_training.recipes import RECIPES, check_recipe
from layert2v_training.stages import (
    MULTI_FOREGROUND_RUN,
    MissingPart,
    Run,
    run_alpha_vae,
    run_decoders,
    run_export,
    run_joint,
    run_latents,
    run_vae,
)

app = typer.Typer(help=__doc__, no_args_is_help=True, pretty_exceptions_enable=False)


class RecipeName(StrEnum):
    """Recipes by name, as in `recipes.RECIPES`."""

    TINY = "tiny"
    TINY_GPU = "tiny-gpu"
    DEBUG = "debug"
    WAN_1_3B = "wan2.1-1.3b"
    WAN_1_3B_LONG = "wan2.1-1.3b-long"
    WAN_14B = "wan2.1-14b"


_REFUSALS = (
    AssetsUnavailable,
    BadClip,
    BadClips,
    CheckpointMismatch,
    CheckpointNotSaved,
    DamagedModel,
    DoesNotFit,
    InvalidCheckpoint,
    InvalidFixture,
    InvalidRecipe,
    MissingPart,
)
"""What a user can mend; their messages say how."""

Assets = Annotated[Path, typer.Option(help="Folder for the pictures; fetched when empty.")]
Out = Annotated[Path, typer.Option(help="Folder of the run: checkpoints, VAEs, events.")]
Named = Annotated[RecipeName, typer.Option("--recipe", help="Which recipe.")]
Steps = Annotated[int | None, typer.Option(min=1, help="Override the stage's number of steps.")]
Changes = Annotated[
    list[str] | None,
    typer.Option("--set", help="Change a field: joint.loop.learning_rate=1e-4. Repeatable."),
]
Files = Annotated[
    list[Path] | None, typer.Option("--recipe-file", help="YAML of changed fields. Repeatable.")
]
Base = Annotated[
    Path | None, typer.Option(help="Folder of Wan2.1-T2V, its authors' or diffusers' layout.")
]
Init = Annotated[
    Path | None,
    typer.Option(help="Model folder to go on from: its VAEs, and its transformer at step 0."),
]
Data = Annotated[
    Path | None,
    typer.Option(help="Folder or JSONL file of your own clips, instead of composed scenes."),
]
SkipBad = Annotated[bool, typer.Option("--skip-bad", help="Leave bad clips of --data out.")]
Compiled = Annotated[
    bool, typer.Option("--compile", help="Compile the blocks: faster after a minute; needs g++.")
]
DryRun = Annotated[
    bool, typer.Option("--dry-run", help="Say what it would take, refuse what cannot fit, end.")
]

Workers = Annotated[
    int, typer.Option(min=0, help="Processes that make and encode clips; 0: none beside this.")
]

DEFAULT_ASSETS, DEFAULT_OUT = Path("cache/assets"), Path("runs/tiny")
DEFAULT_RECIPE = RecipeName.TINY


@contextmanager
def _refusals() -> Iterator[None]:
    """Say what a user can mend in one sentence and end with status 2."""
    try:
        yield
    except _REFUSALS as error:
        typer.echo(str(error), err=True)
        raise typer.Exit(2) from error


def _run(
    assets: Path,
    out: Path,
    name: RecipeName,
    files: list[Path] | None = None,
    changes: list[str] | None = None,
    *,
    base: Path | None = None,
    init: Path | None = None,
    data: Path | None = None,
    skip_bad: bool = False,
    workers: int = 0,
) -> Run:
    cv2.setNumThreads(1)
    overrides = read_overrides(files or [], changes or [])
    recipe = apply_overrides(RECIPES[name.value](), overrides)
    check_recipe(recipe)
    return Run(recipe, assets, out, base, init, data, skip_bad, workers)


def _with_steps(changes: list[str] | None, field: str, steps: int | None) -> list[str]:
    return [*(changes or []), *([f"{field}.num_steps={steps}"] if steps else [])]


@app.command()
def vae(
    assets: Assets = DEFAULT_ASSETS,
    out: Out = DEFAULT_OUT,
    recipe: Named = DEFAULT_RECIPE,
    steps: Steps = None,
    files: Files = None,
    changes: Changes = None,
    dry_run: DryRun = False,
    workers: Workers = 0,
) -> None:
    """Make the small VAE: encoder in closed form, decoder trained. Writes OUT/vae."""
    with _refusals():
        run = _run(assets, out, recipe, files, _with_steps(changes, "vae", steps), workers=workers)
        if dry_run:
            print(describe(run, "vae"))
        else:
            run_vae(run)


@app.command("alpha-vae")
def alpha_vae(
    assets: Assets = DEFAULT_ASSETS,
    out: Out = DEFAULT_OUT,
    recipe: Named = DEFAULT_RECIPE,
    base: Base = None,
    files: Files = None,
    changes: Changes = None,
    dry_run: DryRun = False,
    data: Data = None,
    skip_bad: SkipBad = False,
    workers: Workers = 0,
) -> None:
    """Stage 1: adapt the VAE to mattes. Writes OUT/alpha_vae."""
    with _refusals():
        run = _run(
            assets,
            out,
            recipe,
            files,
            changes,
            base=base,
            data=data,
            skip_bad=skip_bad,
            workers=workers,
        )
        if dry_run:
            print(describe(run, "alpha-vae"))
        else:
            run_alpha_vae(run)


class Stage(StrEnum):
    """Stages that learn from latents."""

    JOINT = "joint"
    MULTI_FOREGROUND = "multi-foreground"


@app.command()
def latents(
    stage: Annotated[Stage, typer.Argument(help="Stage whose clips to encode.")],
    assets: Assets = DEFAULT_ASSETS,
    out: Out = DEFAULT_OUT,
    recipe: Named = DEFAULT_RECIPE,
    base: Base = None,
    init: Init = None,
    files: Files = None,
    changes: Changes = None,
    data: Data = None,
    skip_bad: SkipBad = False,
    workers: Workers = 0,
) -> None:
    """Encode a stage's clips ahead of it, while another stage trains, say. Needs OUT/vae."""
    with _refusals():
        run = _run(
            assets,
            out,
            recipe,
            files,
            changes,
            base=base,
            init=init,
            data=data,
            skip_bad=skip_bad,
            workers=workers,
        )
        run_latents(run, stage.value)


@app.command()
def joint(
    assets: Assets = DEFAULT_ASSETS,
    out: Out = DEFAULT_OUT,
    recipe: Named = DEFAULT_RECIPE,
    steps: Steps = None,
    compiled: Compiled = False,
    base: Base = None,
    init: Init = None,
    files: Files = None,
    changes: Changes = None,
    dry_run: DryRun = False,
    data: Data = None,
    skip_bad: SkipBad = False,
    workers: Workers = 0,
) -> None:
    """Stage 2: joint layers with one foreground."""
    with _refusals():
        changed = _with_steps(changes, "joint.loop", steps)
        run = _run(
            assets,
            out,
            recipe,
            files,
            changed,
            base=base,
            init=init,
            data=data,
            skip_bad=skip_bad,
            workers=workers,
        )
        if dry_run:
            print(describe(run, "joint"))
        else:
            run_joint(run, "joint", is_compiled=compiled)


@app.command("multi-foreground")
def multi_foreground(
    assets: Assets = DEFAULT_ASSETS,
    out: Out = DEFAULT_OUT,
    recipe: Named = DEFAULT_RECIPE,
    steps: Steps = None,
    compiled: Compiled = False,
    base: Base = None,
    init: Init = None,
    files: Files = None,
    changes: Changes = None,
    dry_run: DryRun = False,
    data: Data = None,
    skip_bad: SkipBad = False,
    workers: Workers = 0,
) -> None:
    """Stage 3: several foregrounds and given layers, going on from stage 2 or from --init."""
    with _refusals():
        changed = _with_steps(changes, "multi_foreground.loop", steps)
        run = _run(
            assets,
            out,
            recipe,
            files,
            changed,
            base=base,
            init=init,
            data=data,
            skip_bad=skip_bad,
            workers=workers,
        )
        if dry_run:
            print(describe(run, "multi-foreground"))
        else:
            run_joint(run, "multi-foreground", is_compiled=compiled)


@app.command("decoders")
def decoders(
    assets: Assets = DEFAULT_ASSETS,
    out: Out = DEFAULT_OUT,
    recipe: Named = DEFAULT_RECIPE,
    steps: Steps = None,
    init: Init = None,
    files: Files = None,
    changes: Changes = None,
    data: Data = None,
    skip_bad: SkipBad = False,
    workers: Workers = 0,
) -> None:
    """After stage 3: teach both decoders of the small VAE what the transformer makes."""
    with _refusals():
        changed = _with_steps(changes, "decoders.loop", steps)
        run_decoders(
            _run(
                assets,
                out,
                recipe,
                files,
                changed,
                init=init,
                data=data,
                skip_bad=skip_bad,
                workers=workers,
            )
        )


@app.command("export")
def export_model(
    folder: Annotated[Path, typer.Argument(help="Model folder to write.")],
    out: Out = DEFAULT_OUT,
    recipe: Named = DEFAULT_RECIPE,
    run: Annotated[
        str, typer.Option(help="Run whose averaged parameters to take.")
    ] = MULTI_FOREGROUND_RUN,
    base: Base = None,
    init: Init = None,
    files: Files = None,
    changes: Changes = None,
) -> None:
    """Write a model folder from a run's averaged parameters, adapters merged in."""
    with _refusals():
        made = _run(DEFAULT_ASSETS, out, recipe, files, changes, base=base, init=init)
        run_export(made, folder, run)


@app.command("all")
def every_stage(
    assets: Assets = DEFAULT_ASSETS,
    out: Out = DEFAULT_OUT,
    recipe: Named = DEFAULT_RECIPE,
    base: Base = None,
    files: Files = None,
    changes: Changes = None,
    data: Data = None,
    skip_bad: SkipBad = False,
    workers: Workers = 0,
) -> None:
    """All of it: VAE, stages 1 to 3, and the model folder OUT/model."""
    with _refusals():
        run = _run(
            assets,
            out,
            recipe,
            files,
            changes,
            base=base,
            data=data,
            skip_bad=skip_bad,
            workers=workers,
        )
        if run.recipe.base == "none":
            run_vae(run)
        run_alpha_vae(run)
        run_joint(run, "joint")
        run_joint(run, "multi-foreground")
        if run.recipe.base == "none":
            run_decoders(run)
        run_export(run, out / "model")


def main() -> None:
    """Run the command line."""
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s")
    app()


if __name__ == "__main__":
    main()
