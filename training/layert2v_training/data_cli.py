"""`layert2v-data`: check clips before training on them."""

import logging
from fractions import Fraction
from pathlib import Path
from typing import Annotated

import typer

from layert2v_training.data.checking import check_source
from layert2v_training.data.sources import ClipFormat

app = typer.Typer(help=__doc__, no_args_is_help=True, pretty_exceptions_enable=False)


def _fraction(text: str) -> Fraction:
    try:
        rate = Fraction(text)
    except (ValueError, ZeroDivisionError) as error:
        raise typer.BadParameter(f"{text} is no rate; say 24 or 30000/1001") from error
    if rate <= 0:
        raise typer.BadParameter(f"{text} is not positive; say 24 or 30000/1001")
    return rate


Rate = Annotated[
    Fraction | None, typer.Option(parser=_fraction, help="Choose frames at this rate.")
]


@app.command()
def check(
    source: Annotated[Path, typer.Argument(help="Folder of clips, or a .jsonl file.")],
    size: Annotated[
        tuple[int, int, int] | None,
        typer.Option("--format", help="Width, height and frames the clips must serve."),
    ] = None,
    fps: Rate = None,
    skip_bad: Annotated[
        bool, typer.Option("--skip-bad", help="Bad clips are no failure if others are good.")
    ] = False,
) -> None:
    """Decode every frame of every clip; name each bad one with its reason and exit with 2."""
    target = ClipFormat(*size, fps) if size else None
    num_good = num_bad = 0
    for checked in check_source(source, target, fps):
        if checked.problem is None:
            num_good += 1
        else:
            num_bad += 1
            typer.echo(f"bad  {checked.path}: {checked.problem}")
    typer.echo(f"{num_good} good, {num_bad} bad")
    if num_bad and not (skip_bad and num_good):
        raise typer.Exit(2)


@app.callback()
def _commands() -> None:
    """Work on clips."""


def main() -> None:
    """Run the command line."""
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s")
    app()
