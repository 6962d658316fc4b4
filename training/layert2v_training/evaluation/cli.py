"""`layert2v-evaluate MODEL|FOLDER --out DIR`: how good layered video is, in figures and pictures.

MODEL is a model folder, asked by `--prompts` or by `--held-out` scenes. FOLDER holds shots in the
form that `layert2v-finish` reads. Writes OUT/report.json, OUT/index.html and OUT/sheet.png. Bad
input ends with one sentence and exit code 2. Everything but `speed` in the report is equal for
equal input.
"""

# The command imports its modules when it runs: PyTorch takes seconds, and `--help` must not.

from pathlib import Path
from typing import Annotated

import typer

from layert2v_model.cost.precision import Choice

app = typer.Typer(add_completion=False, pretty_exceptions_enable=False)


@app.command()
def main_command(
    source: Annotated[Path, typer.Argument(help="A model folder, or a folder of shots.")],
    out: Annotated[Path, typer.Option(help="Folder for report.json, index.html, sheet.png.")],
    prompts: Annotated[
        Path | None,
        typer.Option(
            help="JSON file with a shot in each line: prompt, background, foregrounds (list), seed."
        ),
    ] = None,
    held_out: Annotated[
        int, typer.Option(min=0, help="Number of scenes to ask for that training never shows.")
    ] = 0,
    assets: Annotated[
        Path, typer.Option(help="Folder of the pictures of scenes, which the oracle knows.")
    ] = Path("cache/assets"),
    truth: Annotated[
        Path | None, typer.Option(help="True layers of FOLDER's shots, under the same names.")
    ] = None,
    steps: Annotated[
        int | None, typer.Option(min=1, help="Steps. The default is the model's.")
    ] = None,
    guidance: Annotated[
        float | None, typer.Option(min=1, help="Guidance. The default is the model's.")
    ] = None,
    frames: Annotated[
        int | None,
        typer.Option(min=1, help="Frames of a shot. The default is the model's first choice."),
    ] = None,
    takes: Annotated[
        Path | None,
        typer.Option(help="Keep takes in this folder, and reuse those that it holds."),
    ] = None,
    regenerate: Annotated[
        int | None,
        typer.Option(
            min=0,
            help="Regenerate a layer of this many shots, from the first. The default is 1.",
        ),
    ] = None,
    given: Annotated[
        list[str] | None,
        typer.Option(
            help="Streams of held-out scenes to give, such as full (the default), full+background "
            "or foreground_1. Repeatable."
        ),
    ] = None,
    given_scenes: Annotated[
        int | None,
        typer.Option(
            min=0, help="Number of held-out scenes whose streams are given. The default is all."
        ),
    ] = None,
    beside: Annotated[
        list[str] | None,
        typer.Option(help="NAME=MODEL or NAME=FOLDER, measured on the same shots. Repeatable."),
    ] = None,
    skip_bad: Annotated[
        bool,
        typer.Option("--skip-bad", help="Leave out shots that cannot be read, and report them."),
    ] = False,
    alignment: Annotated[
        bool, typer.Option(help="Also score words by the in-domain model (fitted in 10 s).")
    ] = True,
    vbench: Annotated[
        list[str] | None, typer.Option(help="A dimension of VBench. Repeatable.")
    ] = None,
    precision: Annotated[
        Choice,
        typer.Option(
            envvar="LAYERT2V_PRECISION",
            help="auto takes bfloat16 where the processor has it natively, else float32.",
        ),
    ] = "auto",
) -> None:
    """Measure layered video beside baselines."""
    from layert2v_media.errors import UnreadableMedia
    from layert2v_model.errors import DamagedModel, InvalidLayers, InvalidShot, NotFinite
    from layert2v_training.evaluation.comparisons import read_comparisons
    from layert2v_training.evaluation.evaluate import evaluate
    from layert2v_training.evaluation.given_scenes import read_subset
    from layert2v_training.evaluation.options import Options
    from layert2v_training.evaluation.prompts import BadInput
    from layert2v_training.scenes.assets import AssetsUnavailable

    try:
        options = Options(
            source, out, prompts, held_out, assets, truth, steps, guidance, frames, takes,
            regenerate, tuple(map(read_subset, given)) if given else None, given_scenes,
            read_comparisons(beside or ()), skip_bad, tuple(vbench or ()), has_alignment=alignment,
            precision=precision,
        )  # fmt: skip
        page = evaluate(options, lambda words: typer.echo(words, err=True))
    except (
        BadInput, DamagedModel, InvalidShot, InvalidLayers, NotFinite, UnreadableMedia,
        AssetsUnavailable,
    ) as problem:  # fmt: skip
        typer.echo(f"layert2v-evaluate: {problem}", err=True)
        raise typer.Exit(2) from None
    typer.echo(str(page))


def main() -> None:
    """Run the command line."""
    app()
