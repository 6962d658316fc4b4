"""`layert2v-data`: check clips, build clips from raw video, fetch pictures for composed scenes."""

import logging
from fractions import Fraction
from pathlib import Path
from typing import Annotated

import cv2
import typer

from layert2v_training.assets import AssetsUnavailable, fetch_assets, verify_assets
from layert2v_training.data.checking import check_source
from layert2v_training.data.problems import MixedRates
from layert2v_training.data.sources import ClipFormat
from layert2v_training.engine.build import build_clips
from layert2v_training.engine.recipe import Captioner, EngineRecipe, Matter, Plates
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
    is_mixed, silent = False, list[Path]()
    for checked in check_source(source, target, fps):
        if checked.problem is None:
            num_good += 1
            silent += [checked.path] if checked.facts and checked.facts.fps is None else []
        else:
            num_bad += 1
            is_mixed |= isinstance(checked.problem, MixedRates)
            typer.echo(f"bad  {checked.path}: {checked.problem}")
    if silent:
        typer.echo(
            f"note {len(silent)} of the clips, such as {silent[0]}, do not say their frame rate: "
            f"training takes them a frame a frame; where that is wrong, add a line such as "
            f"`fps: 24` to their text"
        )
    typer.echo(f"{num_good} good, {num_bad} bad")
    if num_bad and (is_mixed or not (skip_bad and num_good)):
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
    cache: Annotated[Path, typer.Option(help="Where fetched models are kept.")] = Path("cache"),
) -> None:
    """Turn raw video into checked clips, CLIPS.jsonl and a report with pictures."""
    cv2.setNumThreads(1)
    named = dict(pair.split("=", 1) for pair in weights if "=" in pair)
    recipe = EngineRecipe(
        height=height, num_frames=num_frames, fps=fps, most_clips=most_clips, mattes=mattes,
        plates=plates, captions=captions, weights=tuple(sorted(named.items())),
        most_similar=most_similar, cache=cache,
    )  # fmt: skip
    try:
        result = build_clips(videos, out, recipe, processes)
    except (AssetsUnavailable, StageUnavailable, FileNotFoundError) as error:
        typer.echo(str(error), err=True)
        raise typer.Exit(2) from error
    typer.echo(f"{result.num_accepted} clips, {result.num_rejected} rejected: {result.report}")


@app.command()
def assets(
    folder: Annotated[Path, typer.Argument(help="Folder of the pictures; made when missing.")],
    verify: Annotated[
        bool, typer.Option("--verify", help="Only check what is there; fetch nothing.")
    ] = False,
) -> None:
    """Fetch the pictures of composed scenes by name; check every file against the manifest."""
    try:
        num_files = verify_assets(folder if verify else fetch_assets(folder))
    except AssetsUnavailable as error:
        typer.echo(str(error), err=True)
        raise typer.Exit(2) from error
    typer.echo(f"{num_files} files in {folder} are as the manifest says")


def main() -> None:
    """Run the command line."""
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s")
    app()
