"""`layert2v-train`: the stages one by one, or all of them.

Every command resumes the run in its output folder. For several processes use `accelerate launch -m
layert2v_training.cli joint ...`. `docs/log.md` has the lessons of earlier runs.
"""

# Commands import their modules when they run: PyTorch takes seconds, and `--help` must not.

import inspect
import logging
from collections.abc import Callable, Collection, Sequence
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from layert2v_model.cost.precision import Choice
from layert2v_training.cli_options import (
    DEFAULT_ASSETS,
    RUNS,
    SHARED,
    Compiled,
    DeviceMemory,
    DryRun,
    IgnoreFit,
    RecipeName,
)
from layert2v_training.learning.stopping import program

if TYPE_CHECKING:
    from layert2v_training.runs.run import Run

app = typer.Typer(help=__doc__, no_args_is_help=True, pretty_exceptions_enable=False)


def _run(
    command: str,
    recipe: RecipeName,
    files: list[Path] | None,
    changes: list[str] | None,
    steps_field: str,
    steps: int | None = None,
    assets: Path = DEFAULT_ASSETS,
    out: Path | None = None,
    precision: Choice | None = None,
    is_elsewhere: bool = False,
    **others: Any,
) -> "Run":
    import cv2

    from layert2v_training.runs.overrides import apply_overrides, read_overrides
    from layert2v_training.runs.recipe_checks import check_recipe
    from layert2v_training.runs.recipes import RECIPES
    from layert2v_training.runs.run import Run
    from layert2v_training.runs.run_precision import ELSEWHERE, decide_for_run
    from layert2v_training.runs.unread import Situation, check_read

    cv2.setNumThreads(1)
    changed = [*(changes or []), *([f"{steps_field}.num_steps={steps}"] if steps else [])]
    made = apply_overrides(RECIPES[recipe.value](), read_overrides(files or [], changed))
    if precision is not None:
        made = decide_for_run(made, precision, ELSEWHERE if is_elsewhere else None)
    check_recipe(made)
    run = Run(made, assets, out or RUNS / recipe.value, **others)
    situation = Situation(made.base, run.data is not None, made.num_composed_clips > 0)
    said, filed = read_overrides([], changed), read_overrides(files or [], [])
    check_read(command, said, filed, situation)
    return run


def _command(
    name: str, *, without: Collection[str] = (), steps: str = ""
) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """Register what works on a `Run` as a command with its own and the shared options.

    Args:
        name: As typed.
        without: Shared options that mean nothing to it.
        steps: Field of the recipe whose `num_steps` is set by `--steps`; blank: no such option.
    """
    left_out = {*without, *(() if steps else ("steps",))}
    shared = [option for option in SHARED if option.name not in left_out]

    def register(work: Callable[..., None]) -> Callable[..., None]:
        own = list(inspect.signature(work).parameters.values())[1:]

        def command(**values: Any) -> None:
            from layert2v_training.refusals import refusing
            from layert2v_training.runs.option_checks import check_options

            mine = {option.name: values.pop(option.name) for option in own}
            with refusing():
                is_elsewhere = mine.get("device_memory") is not None
                run = _run(name, steps_field=steps, is_elsewhere=is_elsewhere, **values)
                check_options(
                    run,
                    values["recipe"].value,
                    is_dry=mine.get("dry_run", False),
                    ignores_fit=mine.get("ignores_fit", False),
                    is_elsewhere=is_elsewhere,
                )
                work(run, **mine)

        # Typer reads a command's options off its signature and its hints.
        options = [option.replace(kind=inspect.Parameter.KEYWORD_ONLY) for option in own] + shared
        command.__signature__ = inspect.Signature(options)  # type: ignore[attr-defined]
        command.__annotations__ = {option.name: option.annotation for option in options}
        app.command(name, help=work.__doc__)(command)
        return work

    return register


@_command("vae", without=("base", "init", "data", "skip_bad"), steps="vae")
def vae(
    run: "Run",
    dry_run: DryRun = False,
    device_memory: DeviceMemory = None,
    ignores_fit: IgnoreFit = False,
) -> None:
    """Make the small VAE: encoder in closed form, decoder trained. Writes OUT/vae."""
    from layert2v_training.runs.programs import run_vae

    if _is_to_run(run, ("vae",), dry_run, device_memory, ignores_fit):
        run_vae(run)


@_command("alpha-vae", without=("init",))
def alpha_vae(
    run: "Run",
    dry_run: DryRun = False,
    device_memory: DeviceMemory = None,
    ignores_fit: IgnoreFit = False,
) -> None:
    """Stage 1: adapt the VAE to mattes. Writes OUT/alpha_vae."""
    from layert2v_training.runs.programs import run_alpha_vae

    if _is_to_run(run, ("alpha-vae",), dry_run, device_memory, ignores_fit):
        run_alpha_vae(run)


def _is_to_run(
    run: "Run",
    stages: Sequence[str],
    is_dry: bool,
    device_memory: str | None,
    ignores_fit: bool,
) -> bool:
    """Print what stages take in a dry run, or refuse a run that cannot fit."""
    from layert2v_training.costs.dry_run import check_fits, describe
    from layert2v_training.costs.needs import parse_bytes

    if is_dry:
        print(describe(run, stages, parse_bytes(device_memory) if device_memory else None))
        return False
    for stage in () if ignores_fit else stages:
        check_fits(run, stage)
    return True


class Stage(StrEnum):
    """Stages that learn from latents."""

    JOINT = "joint"
    MULTI_FOREGROUND = "multi-foreground"


@_command("latents", without=("accepts_changes", "precision"))
def latents(
    run: "Run", stage: Annotated[Stage, typer.Argument(help="Stage whose clips to encode.")]
) -> None:
    """Encode a stage's clips ahead of it, perhaps while another stage trains. Needs OUT/vae."""
    from layert2v_training.runs.programs import run_latents

    run_latents(run, stage.value)


@_command("joint", steps="joint.loop")
def joint(
    run: "Run",
    compiled: Compiled = False,
    dry_run: DryRun = False,
    device_memory: DeviceMemory = None,
    ignores_fit: IgnoreFit = False,
) -> None:
    """Stage 2: joint layers with one foreground."""
    from layert2v_training.runs.programs import run_joint

    if _is_to_run(run, (Stage.JOINT,), dry_run, device_memory, ignores_fit):
        run_joint(run, Stage.JOINT, is_compiled=compiled)


@_command("multi-foreground", steps="multi_foreground.loop")
def multi_foreground(
    run: "Run",
    compiled: Compiled = False,
    dry_run: DryRun = False,
    device_memory: DeviceMemory = None,
    ignores_fit: IgnoreFit = False,
) -> None:
    """Stage 3: several foregrounds and given layers, going on from stage 2 or from --init."""
    from layert2v_training.runs.programs import run_joint

    if _is_to_run(run, (Stage.MULTI_FOREGROUND,), dry_run, device_memory, ignores_fit):
        run_joint(run, Stage.MULTI_FOREGROUND, is_compiled=compiled)


@_command("decoders", without=("base",), steps="decoders.loop")
def decoders(run: "Run") -> None:
    """After stage 3: teach both decoders of the small VAE what the transformer makes."""
    from layert2v_training.runs.programs import run_decoders

    run_decoders(run)


class TrainedRun(StrEnum):
    """Runs that end in a whole transformer, by the names of their folders."""

    JOINT = "run-joint"
    MULTI_FOREGROUND = "run-multi-foreground"


@_command(
    "export", without=("assets", "data", "skip_bad", "workers", "accepts_changes", "precision")
)
def export_model(
    run: "Run",
    folder: Annotated[Path, typer.Argument(help="Model folder to write.")],
    name: Annotated[
        TrainedRun, typer.Option("--run", help="Run whose averaged parameters to take.")
    ] = TrainedRun.MULTI_FOREGROUND,
    overwrite: Annotated[
        bool, typer.Option(help="Replace a model that FOLDER already holds.")
    ] = False,
) -> None:
    """Write a model folder from a run's averaged parameters, adapters merged in."""
    from layert2v_training.runs.programs import run_export

    run_export(run, folder, name.value, overwrite=overwrite)
    print(f"wrote {folder}, the model {run.recipe.name}")


@app.command("average")
def average_models(
    model: Annotated[Path, typer.Argument(help="Model folder.")],
    other: Annotated[Path, typer.Argument(help="Model folder with the same origin.")],
    out: Annotated[Path, typer.Option(help="Model folder to write.")],
    share: Annotated[
        float, typer.Option(min=0.0, max=1.0, help="Share of OTHER's parameters.")
    ] = 0.5,
) -> None:
    """Average the transformers of two models, to combine their strengths without training."""
    from layert2v_training.refusals import refusing
    from layert2v_training.runs.average import average

    with refusing():
        average(model, other, out, share)


@_command("all", without=("init",))
def every_stage(
    run: "Run",
    dry_run: DryRun = False,
    device_memory: DeviceMemory = None,
    ignores_fit: IgnoreFit = False,
) -> None:
    """Run everything: VAE, stages 1 to 3, and the model folder OUT/model."""
    from layert2v_training.runs.programs import (
        run_alpha_vae,
        run_decoders,
        run_export,
        run_joint,
        run_vae,
    )

    stages = ("vae", "alpha-vae", "joint", "multi-foreground")[run.recipe.base != "none" :]
    if not _is_to_run(run, stages, dry_run, device_memory, ignores_fit):
        return
    if run.recipe.base == "none":
        run_vae(run)
    run_alpha_vae(run)
    run_joint(run, "joint")
    run_joint(run, "multi-foreground")
    if run.recipe.base == "none":
        run_decoders(run)
    run_export(run, run.out / "model", overwrite=True)


def main() -> None:
    """Run the command line."""
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s")
    with program():
        app()


if __name__ == "__main__":
    main()
