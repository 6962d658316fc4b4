"""`layert2v-evaluate MODEL|FOLDER --out DIR`: how good layered video is, in figures and pictures.

MODEL is a model folder, asked by `--prompts` or by `--held-out` scenes; FOLDER holds shots in the
form that `layert2v-finish` reads. Writes OUT/report.json, OUT/index.html and OUT/sheet.png. Bad
input: one sentence and exit code 2. Everything but `speed` in the report is equal for equal input.
"""

from pathlib import Path
from typing import Annotated

import typer

from layert2v_model.errors import DamagedModel, InvalidLayers, InvalidShot
from layert2v_model.media import UnreadableMedia
from layert2v_training.assets import AssetsUnavailable
from layert2v_training.evaluation.program import Request, run
from layert2v_training.evaluation.prompts import BadInput

app = typer.Typer(add_completion=False, pretty_exceptions_enable=False)


@app.command()
def main_command(
    source: Annotated[Path, typer.Argument(help="A model folder, or a folder of shots.")],
    out: Annotated[Path, typer.Option(help="Folder for report.json, index.html, sheet.png.")],
    prompts: Annotated[
        Path | None,
        typer.Option(help="A shot a line: prompt, background, foregrounds (list), seed."),
    ] = None,
    held_out: Annotated[
        int, typer.Option(min=0, help="Ask for so many scenes that training never shows.")
    ] = 0,
    assets: Annotated[
        Path, typer.Option(help="Pictures scenes are made of; the oracle knows them.")
    ] = Path("cache/assets"),
    truth: Annotated[
        Path | None, typer.Option(help="True layers of FOLDER's shots, under the same names.")
    ] = None,
    steps: Annotated[int | None, typer.Option(min=1, help="Steps; default: the model's.")] = None,
    guidance: Annotated[
        float | None, typer.Option(min=1, help="Guidance; default: the model's.")
    ] = None,
    frames: Annotated[
        int | None, typer.Option(min=1, help="Frames of a shot; default: the model's first choice.")
    ] = None,
    regenerate: Annotated[
        int, typer.Option(min=0, help="First shots of which a layer is made anew.")
    ] = 1,
    decompose: Annotated[
        int | None,
        typer.Option(min=0, help="First held-out scenes that are also taken apart; default: all."),
    ] = None,
    alignment: Annotated[
        bool, typer.Option(help="Also score words by the in-domain model (fitted in 10 s).")
    ] = True,
    vbench: Annotated[
        list[str] | None, typer.Option(help="A dimension of VBench; may be repeated.")
    ] = None,
) -> None:
    """Measure layered video beside baselines."""
    request = Request(
        source, out, prompts, held_out, assets, truth, steps, guidance, frames,
        regenerate, decompose, tuple(vbench or ()), has_alignment=alignment,
    )  # fmt: skip
    try:
        page = run(request, lambda words: typer.echo(words, err=True))
    except (
        BadInput, DamagedModel, InvalidShot, InvalidLayers, UnreadableMedia, AssetsUnavailable,
    ) as problem:  # fmt: skip
        typer.echo(f"layert2v-evaluate: {problem}", err=True)
        raise typer.Exit(2) from None
    typer.echo(str(page))


def main() -> None:
    """Run the command line."""
    app()
