"""`layert2v-data`: check clips before training on them, and build clips from raw video."""

import logging
from fractions import Fraction
from pathlib import Path
from typing import Annotated

import cv2
import typer

from layert2v_training.assets import AssetsUnavailable
from layert2v_training.data.checking import check_source
from layert2v_training.data.problems import BadClips
from layert2v_training.data.sources import ClipFormat
from layert2v_training.engine.build import build_clips
from layert2v_training.engine.recipe import ADAPTERS, Captioner, EngineRecipe, Matter, Plates
from layert2v_training.engine.stages import StageUnavailable

app = typer.Typer(help=__doc__, no_args_is_help=True, pretty_exceptions_enable=False)


def _fraction(text: str) -> Fraction:
    try:
        rate = Fraction(text)
    except (ValueError, ZeroDivisionError) as error:
        raise typer.BadParameter(f"{text} is no rate; say 24 or 30000/1001") from error
    if rate <= 0:
        raise typer.BadParameter(f"{text} is not positive; say 24 or 30000/1001")
    return rate


def _folders(pairs: list[str]) -> tuple[tuple[str, str], ...]:
    """Read NAME=FOLDER."""
    for pair in pairs:
        name, equals, folder = pair.partition("=")
        if not (equals and folder) or name not in ADAPTERS:
            raise typer.BadParameter(
                f"--weights {pair} names no adapter's folder; say NAME=FOLDER, NAME one of "
                f"{', '.join(ADAPTERS)}"
            )
    return tuple(sorted(dict(pair.split("=", 1) for pair in pairs).items()))


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


@app.command()
def build(
    videos: Annotated[list[Path], typer.Argument(help="Movies, or folders of movies.")],
    out: Annotated[Path, typer.Option(help="Folder to fill; a later call goes on with it.")],
    processes: Annotated[int, typer.Option(min=1, help="Shots worked on at once.")] = 1,
    height: Annotated[int, typer.Option(min=16, help="Lines of the clips.")] = 192,
    num_frames: Annotated[int, typer.Option("--frames", min=2, help="Frames of a clip.")] = 33,
    fps: Annotated[Fraction, typer.Option(parser=_fraction, help="Their rate.")] = Fraction(8),
    most_clips: Annotated[
        int, typer.Option("--clips-per-shot", min=1, help="At most so many from one shot.")
    ] = 4,
    mattes: Annotated[Matter, typer.Option(help="What cuts subjects out.")] = Matter.U2NETP,
    plates: Annotated[Plates, typer.Option(help="What removes subjects.")] = Plates.MEDIAN,
    captions: Annotated[Captioner, typer.Option(help="What writes.")] = Captioner.TEMPLATE,
    weights: Annotated[
        list[str], typer.Option(help="NAME=FOLDER: weights of an adapter, such as qwen-vl.")
    ] = [],  # noqa: B006  (typer copies it)
    most_similar: Annotated[
        float, typer.Option(min=0, max=1, help="Reject captions this close to an earlier one.")
    ] = 0.85,
    keep_repeats: Annotated[
        bool, typer.Option("--keep-repeats", help="Reject no clip for its captions.")
    ] = False,
    cache: Annotated[Path, typer.Option(help="Where fetched models are kept.")] = Path("cache"),
    skip_bad: Annotated[
        bool, typer.Option("--skip-bad", help="Leave out movies that are cut short or damaged.")
    ] = False,
) -> None:
    """Turn raw video into checked clips, CLIPS.jsonl and a report with pictures."""
    cv2.setNumThreads(1)
    recipe = EngineRecipe(
        height=height, num_frames=num_frames, fps=fps, most_clips=most_clips, mattes=mattes,
        plates=plates, captions=captions, weights=_folders(weights),
        most_similar=None if keep_repeats else most_similar, cache=cache,
    )  # fmt: skip
    try:
        result = build_clips(videos, out, recipe, processes, skip_bad=skip_bad)
    except BadClips as error:
        typer.echo(f"{error}\n--skip-bad builds from the others", err=True)
        raise typer.Exit(2) from error
    except (AssetsUnavailable, StageUnavailable, FileNotFoundError) as error:
        typer.echo(str(error), err=True)
        raise typer.Exit(2) from error
    typer.echo(f"{result.num_accepted} clips, {result.num_rejected} rejected: {result.report}")


def main() -> None:
    """Run the command line."""
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s")
    app()
