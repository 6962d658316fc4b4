"""`layert2v-data`: check clips, build clips from raw video, fetch pictures for composed scenes."""

# What a command needs is imported when it runs: OpenCV and others would slow `--help` down.

import json
import logging
from contextlib import contextmanager
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from layert2v_training.engine.recipe import ADAPTERS, Captioner, EngineRecipe, Matter, Plates
from layert2v_training.number_kinds import TOKEN_PIXELS

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from layert2v_training.data.checking import CheckedClip
    from layert2v_training.data.sources import ClipFormat

app = typer.Typer(help=__doc__, no_args_is_help=True, pretty_exceptions_enable=False)

_DEFAULT = EngineRecipe()


def _fraction(text: str) -> Fraction:
    try:
        rate = Fraction(text)
    except (ValueError, ZeroDivisionError) as error:
        raise typer.BadParameter(f"{text} is not a frame rate; write 24 or 30000/1001") from error
    if rate <= 0:
        raise typer.BadParameter(f"{text} is not positive; write 24 or 30000/1001")
    return rate


def _folders(pairs: list[str] | None) -> list[list[str]] | None:
    """Read NAME=FOLDER."""
    for pair in pairs or ():
        if "=" not in pair:
            raise typer.BadParameter(
                f"--weights {pair} names no folder; write NAME=FOLDER, NAME one of "
                f"{', '.join(ADAPTERS)}"
            )
    return [pair.split("=", 1) for pair in pairs] if pairs else None


def _check_format(width: int, height: int, num_frames: int) -> None:
    """Refuse sizes and lengths that no recipe takes.

    Raises:
        BadParameter: Names what is wrong, and the nearest that is taken.
    """
    wrong = []
    for name, side in (("width", width), ("height", height)):
        if side < TOKEN_PIXELS or side % TOKEN_PIXELS:
            near = max(1, round(side / TOKEN_PIXELS)) * TOKEN_PIXELS
            wrong.append(f"{name} {side} is not a multiple of {TOKEN_PIXELS}, use {near}")
    if num_frames < 1:
        wrong.append(f"{num_frames} frames are too few, use 1 or more")
    if wrong:
        raise typer.BadParameter(f"no recipe takes this --format: {'; '.join(wrong)}")
    if (num_frames - 1) % 4:
        near = num_frames // 4 * 4 + 1
        typer.echo(
            f"note {num_frames} frames suit recipes without a base only: Wan2.1 takes 4 k + 1, "
            f"such as {near}"
        )


def _check_weights(weights: list[list[str]] | None, recipe: EngineRecipe) -> None:
    """Refuse weights of adapters that the recipe does not use.

    Raises:
        BadParameter: Names the adapter and how to choose it.
    """
    used = (recipe.mattes, recipe.plates, recipe.captions)
    for name, folder in weights or ():
        if name in ADAPTERS and name not in used:
            kinds = {"mattes": Matter, "plates": Plates, "captions": Captioner}
            option = next(kind for kind, names in kinds.items() if name in map(str, names))
            raise typer.BadParameter(
                f"--weights {name}={folder} is not used: choose it by --{option} {name}, or leave "
                f"it out"
            )


def _recipe(files: list[Path], changes: list[str], options: dict[str, object]) -> EngineRecipe:
    """Change the recipe by files, then by what was said on the command line.

    Raises:
        InvalidRecipe: A field is unknown, out of its limits, or said twice.
    """
    from layert2v_training.runs.overrides import apply_overrides, read_overrides

    said = [f"{name}={json.dumps(value)}" for name, value in options.items() if value is not None]
    return apply_overrides(EngineRecipe(), read_overrides(files, [*changes, *said]))


Rate = Annotated[
    Fraction | None, typer.Option(parser=_fraction, help="Choose frames at this rate.")
]


@app.command()
def check(
    source: Annotated[Path, typer.Argument(help="Folder of clips, or a .jsonl file.")],
    size: Annotated[
        tuple[int, int, int] | None,
        typer.Option("--format", help="Width, height and frames that clips must be good for."),
    ] = None,
    fps: Rate = None,
    skip_bad: Annotated[
        bool,
        typer.Option("--skip-bad", help="Succeed if any clip is good, even if others are bad."),
    ] = False,
    preview: Annotated[
        Path | None, typer.Option(help="Folder for a strip of pictures of each good clip.")
    ] = None,
) -> None:
    """Decode every frame of every clip. Name each bad one with its reason and exit with 2."""
    from layert2v_training.data.checking import check_source, lossy_fit
    from layert2v_training.data.problems import MISSING, MixedRates
    from layert2v_training.data.sources import ClipFormat

    if size:
        _check_format(*size)
    if not source.exists():
        typer.echo(f"{source} {MISSING}", err=True)
        raise typer.Exit(2)
    target = ClipFormat(*size, fps) if size else None
    num_good = num_bad = 0
    is_mixed, silent = False, list[Path]()
    checked_clips = check_source(source, target, fps)
    if preview is not None:
        checked_clips = _with_previews(checked_clips, preview, target)
    for checked in checked_clips:
        if checked.problem is None:
            num_good += 1
            if checked.facts and (said := lossy_fit(checked.facts, target, fps)):
                typer.echo(f"note {checked.path}: {said}")
            silent += [checked.path] if checked.facts and checked.facts.fps is None else []
            for note in checked.notes:
                typer.echo(f"note {checked.path}: {note}")
        else:
            num_bad += 1
            is_mixed |= isinstance(checked.problem, MixedRates)
            # A file inside the clip's folder names the clip already.
            is_inside = checked.problem.path.is_relative_to(checked.path)
            clip = "" if is_inside else f"{checked.path}: "
            typer.echo(f"bad  {clip}{checked.problem}")
    if silent:
        typer.echo(
            f"note {len(silent)} of the clips, such as {silent[0]}, do not say their frame rate. "
            f"Training uses them frame by frame. If that is wrong, add a line such as `fps: 24` "
            f"to their text"
        )
    typer.echo(f"{num_good} good, {num_bad} bad")
    if num_bad and (is_mixed or not (skip_bad and num_good)):
        raise typer.Exit(2)


def _with_previews(
    checked_clips: "Iterable[CheckedClip]", folder: Path, target: "ClipFormat | None"
) -> "Iterator[CheckedClip]":
    """Write a strip of each good clip as it passes, in place of those of an earlier check.

    Raises:
        typer.Exit: With 2, where the folder cannot be written.
    """
    from layert2v_training.data.checking import CheckedClip
    from layert2v_training.data.problems import BadClip
    from layert2v_training.data.strips import remove_previews, write_preview

    with _writing(folder):
        folder.mkdir(parents=True, exist_ok=True)
        remove_previews(folder)
    num_written = 0
    for checked in checked_clips:
        if checked.clip is None or checked.facts is None:
            yield checked
            continue
        path = folder / f"{num_written + 1:04d}-{checked.path.name.replace(':', '-')}.png"
        try:
            with _writing(folder):
                write_preview(path, checked.clip, checked.facts, target)
        except BadClip as problem:
            yield CheckedClip(checked.path, None, problem)
        else:
            num_written += 1
            yield checked
    typer.echo(f"{num_written} picture{'' if num_written == 1 else 's'} in {folder}")


@contextmanager
def _writing(folder: Path) -> "Iterator[None]":
    try:
        yield
    except OSError as failure:
        typer.echo(
            f"--preview {folder} cannot be written: {failure.strerror}; free space there or "
            f"choose another folder",
            err=True,
        )
        raise typer.Exit(2) from failure


@app.command()
def build(
    videos: Annotated[list[Path], typer.Argument(help="Movies, or folders of movies.")],
    out: Annotated[
        Path, typer.Option(help="Folder to fill. A later call keeps its clips and adds to them.")
    ],
    processes: Annotated[int, typer.Option(min=1, help="Number of shots processed at once.")] = 1,
    height: Annotated[
        int | None, typer.Option(min=16, help=f"Height of the clips in pixels ({_DEFAULT.height}).")
    ] = None,
    num_frames: Annotated[
        int | None,
        typer.Option("--frames", min=2, help=f"Frames of a clip ({_DEFAULT.num_frames})."),
    ] = None,
    fps: Annotated[
        Fraction | None, typer.Option(parser=_fraction, help=f"Frames a second ({_DEFAULT.fps}).")
    ] = None,
    most_clips: Annotated[
        int | None,
        typer.Option(
            "--clips-per-shot",
            min=1,
            help=f"Most clips from one shot ({_DEFAULT.most_clips}).",
        ),
    ] = None,
    mattes: Annotated[
        Matter | None, typer.Option(help=f"Tool that cuts subjects out ({_DEFAULT.mattes}).")
    ] = None,
    plates: Annotated[
        Plates | None, typer.Option(help=f"Tool that removes subjects ({_DEFAULT.plates}).")
    ] = None,
    captions: Annotated[
        Captioner | None, typer.Option(help=f"Tool that writes captions ({_DEFAULT.captions}).")
    ] = None,
    weights: Annotated[
        list[str] | None, typer.Option(help="NAME=FOLDER: weights of an adapter, such as qwen-vl.")
    ] = None,
    most_similar: Annotated[
        float | None,
        typer.Option(
            min=0, max=1, help=f"Reject captions this close to another ({_DEFAULT.most_similar})."
        ),
    ] = None,
    keep_repeats: Annotated[
        bool, typer.Option("--keep-repeats", help="Do not reject clips for their captions.")
    ] = False,
    cache: Annotated[
        Path | None, typer.Option(help=f"Folder of fetched models ({_DEFAULT.cache}).")
    ] = None,
    skip_bad: Annotated[
        bool, typer.Option("--skip-bad", help="Leave out movies that are cut short or damaged.")
    ] = False,
    files: Annotated[
        list[Path] | None,
        typer.Option("--recipe-file", help="YAML of changed fields of the recipe. Repeatable."),
    ] = None,
    changes: Annotated[
        list[str] | None,
        typer.Option("--set", help="Change a field: most_layers=3. Repeatable."),
    ] = None,
) -> None:
    """Turn raw video into checked clips, CLIPS.jsonl and a report with pictures.

    Files change the recipe, options and --set win over files; --set reaches the checker's limits.
    Exit code 1: no clip was accepted.
    """
    import cv2

    from layert2v_training.data.problems import BadClip, BadClips
    from layert2v_training.engine.build import build_clips
    from layert2v_training.engine.protocols import ToolUnavailable
    from layert2v_training.runs.overrides import InvalidRecipe
    from layert2v_training.scenes.assets import AssetsUnavailable

    cv2.setNumThreads(1)
    options: dict[str, object] = {
        "height": height, "num_frames": num_frames, "fps": str(fps) if fps else None,
        "most_clips": most_clips, "mattes": mattes, "plates": plates, "captions": captions,
        "weights": _folders(weights), "most_similar": most_similar,
        "cache": str(cache) if cache else None,
    }  # fmt: skip
    kept = ["most_similar=null"] if keep_repeats else []
    try:
        recipe = _recipe(files or [], [*(changes or []), *kept], options)
        _check_weights(_folders(weights), recipe)
        result = build_clips(videos, out, recipe, processes, skip_bad=skip_bad)
    except BadClips as error:
        typer.echo(f"{error}\n--skip-bad builds from the others", err=True)
        raise typer.Exit(2) from error
    except (
        AssetsUnavailable, BadClip, ToolUnavailable, FileNotFoundError, InvalidRecipe,
    ) as error:  # fmt: skip
        typer.echo(str(error), err=True)
        raise typer.Exit(2) from error
    typer.echo(f"{result.num_accepted} clips, {result.num_rejected} rejected: {result.report}")
    for kind, count in result.reasons.items():
        typer.echo(f"  {count} rejected: {kind}")
    if not result.num_accepted:
        typer.echo(f"no clip was accepted; {result.report} shows each with its reasons", err=True)
        raise typer.Exit(1)
    typer.echo(f"give {out / 'clips.jsonl'} to `layert2v-data check` and to training's --data")


@app.command()
def assets(
    folder: Annotated[Path, typer.Argument(help="Folder of the pictures. It is made if missing.")],
    verify: Annotated[
        bool, typer.Option("--verify", help="Only check the pictures in the folder. Fetch nothing.")
    ] = False,
) -> None:
    """Fetch the pictures of composed scenes, and check every file against the manifest."""
    from layert2v_training.scenes.assets import AssetsUnavailable, fetch_assets, verify_assets

    try:
        num_files = verify_assets(folder if verify else fetch_assets(folder))
    except AssetsUnavailable as error:
        typer.echo(str(error), err=True)
        raise typer.Exit(2) from error
    typer.echo(f"{num_files} files in {folder} match the manifest")


def main() -> None:
    """Run the command line."""
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s")
    app()


if __name__ == "__main__":
    main()
