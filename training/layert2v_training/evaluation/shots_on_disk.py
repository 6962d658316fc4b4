"""Shots in folders, made by any generator, in the form that `layert2v-finish` reads."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path

from layert2v_media.errors import UnreadableMedia
from layert2v_media.kinds import layer_names
from layert2v_model.errors import InvalidLayers
from layert2v_model.finishing.shot_folder import colour_forms, layer_paths, read_layers, stack_of
from layert2v_model.stack import Stack
from layert2v_training.evaluation.measured_shots import Shot
from layert2v_training.evaluation.prompts import NAMED, BadInput, ShotLine

_LAYERS = ("full", "background", "foreground", "matte")


def shot_folders(folder: Path) -> list[Path]:
    """List the folders of shots: this one if it holds a layer, else those inside that do.

    Raises:
        BadInput: There is none.
    """
    if _holds_layers(folder):
        return [folder]
    found = [path for path in sorted(folder.iterdir()) if path.is_dir() and _holds_layers(path)]
    if not found:
        raise BadInput(
            f"{folder} holds no shot and is no model: a shot is a folder with full, background, "
            f"foreground and matte, a model one with layert2v.json"
        )
    return found


def shape_of(folder: Path) -> tuple[int, int, int]:
    """Read a shot for its width, height and number of frames.

    Raises:
        BadInput: It cannot be read.
    """
    num_frames, _, height, width = _read(folder).full_TCHW.shape
    return width, height, num_frames


def _holds_layers(folder: Path) -> bool:
    return any(name.split("_")[0] in _LAYERS for name in layer_names(folder))


def read_shots(
    folders: Sequence[Path],
    lines: Sequence[ShotLine] | None,
    truth: Path | None,
    on_read: Callable[[str], None],
    bad: list[str] | None = None,
) -> Iterator[Shot]:
    """Read shots one by one, with their words and true layers where these are known.

    Layers that are missing are told before the first is read.

    Args:
        folders: Folders of the shots.
        lines: A line for each, in the order of the folders' names.
        truth: Folder with folders of the same names with the true layers.
        on_read: Called with the name of each shot before it is read.
        bad: List of the reasons why shots are left out; None: a bad shot ends the run.

    Raises:
        BadInput: Words or truth do not belong to the shots, or shots are bad and may not be.
    """
    if lines is not None and len(lines) != len(folders):
        raise BadInput(
            f"there are {len(lines)} lines of prompts for {len(folders)} shots: write one for each "
            f"folder, in the order of their names"
        )
    problems = {folder: problem for folder in folders if (problem := _missing(folder))}
    if problems and bad is None:
        raise _refused(list(problems.values()))
    if len(problems) == len(folders):
        raise BadInput(f"no shot can be read: {next(iter(problems.values()))}")
    return _read_each(folders, lines, truth, on_read, problems, bad)


def _missing(folder: Path) -> str:
    try:
        layer_paths(folder)
    except (InvalidLayers, UnreadableMedia) as problem:
        return f"shot {folder.name}: {problem}"
    return ""


def _refused(problems: Sequence[str]) -> BadInput:
    more = f"; and {len(problems) - NAMED} more" if len(problems) > NAMED else ""
    said = "; ".join(problems[:NAMED])
    return BadInput(f"{said}{more}: repair them, or leave such shots out with --skip-bad")


def _read_each(
    folders: Sequence[Path],
    lines: Sequence[ShotLine] | None,
    truth: Path | None,
    on_read: Callable[[str], None],
    problems: Mapping[Path, str],
    bad: list[str] | None,
) -> Iterator[Shot]:
    for number, folder in enumerate(folders):
        on_read(f"reading {folder.name}")
        line = lines[number] if lines else None
        try:
            if folder in problems:
                raise BadInput(problems[folder])
            shot = _shot(folder, line, truth)
        except BadInput as problem:
            if bad is None:
                raise _refused([str(problem)]) from None
            bad.append(f"{problem}; left out by --skip-bad")
            continue
        yield shot


def _shot(folder: Path, line: ShotLine | None, truth: Path | None) -> Shot:
    take = _read(folder)
    if line is not None and len(line.foregrounds) != len(take.foregrounds):
        raise BadInput(
            f"{folder} holds {len(take.foregrounds)} foregrounds, its line of prompts has "
            f"{len(line.foregrounds)}: write a prompt for each"
        )
    return Shot(folder.name, take, line, _truth_of(folder, take, truth))


def _read(folder: Path) -> Stack:
    try:
        files = read_layers(folder)
        forms, _ = colour_forms(files)
        return stack_of(files, forms)
    except (InvalidLayers, UnreadableMedia) as problem:
        raise BadInput(f"shot {folder.name}: {problem}") from problem


def _truth_of(folder: Path, take: Stack, truth: Path | None) -> Stack | None:
    if truth is None:
        return None
    place = truth if _holds_layers(truth) else truth / folder.name
    if not place.is_dir():
        raise BadInput(f"{place} is missing: --truth holds a folder of each shot's name")
    true = _read(place)
    if len(true.layers) != len(take.layers) or true.full_TCHW.shape != take.full_TCHW.shape:
        raise BadInput(
            f"{place} does not belong to {folder}: {_described(true)} against {_described(take)}; "
            f"export both alike"
        )
    return true


def _described(stack: Stack) -> str:
    frames, _, height, width = stack.full_TCHW.shape
    return f"{len(stack.foregrounds)} foregrounds, {frames} frames of {width} x {height}"
