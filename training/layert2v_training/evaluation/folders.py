"""Shots in folders, made by any generator, in the form that `layert2v-finish` reads."""

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from layert2v_model.shot_folder import colour_forms, read_layers, stack_of
from layert2v_model.stack import Stack
from layert2v_training.evaluation.evaluating import Shot
from layert2v_training.evaluation.prompts import BadInput, ShotLine


def shot_folders(folder: Path) -> list[Path]:
    """List the folders of shots: this one if it holds `full`, else those inside that do.

    Raises:
        BadInput: There is none.
    """
    if _holds_full(folder):
        return [folder]
    found = [path for path in sorted(folder.iterdir()) if path.is_dir() and _holds_full(path)]
    if not found:
        raise BadInput(
            f"{folder} holds no shot and is no model: a shot is a folder with full, background, "
            f"foreground and matte, a model one with layert2v.json"
        )
    return found


def _holds_full(folder: Path) -> bool:
    return any(path.stem == "full" for path in folder.iterdir())


def read_shots(
    folders: Sequence[Path],
    lines: Sequence[ShotLine] | None,
    truth: Path | None,
    on_read: Callable[[str], None],
) -> Iterator[Shot]:
    """Read shots one by one, with their words and true layers where these are known.

    Args:
        folders: Of the shots.
        lines: A line for each, in the order of the folders' names.
        truth: Holds folders of the same names with the true layers.
        on_read: Is told the name of each shot before it is read.

    Raises:
        BadInput: Words or truth do not belong to the shots.
        InvalidLayers: Layers are missing or of different sizes.
        UnreadableMedia: A file cannot be read.
    """
    if lines is not None and len(lines) != len(folders):
        raise BadInput(
            f"there are {len(lines)} lines of prompts for {len(folders)} shots: write one for each "
            f"folder, in the order of their names"
        )
    return _read_each(folders, lines, truth, on_read)


def _read_each(
    folders: Sequence[Path],
    lines: Sequence[ShotLine] | None,
    truth: Path | None,
    on_read: Callable[[str], None],
) -> Iterator[Shot]:
    for number, folder in enumerate(folders):
        on_read(f"reading {folder.name}")
        take, line = _read(folder), lines[number] if lines else None
        if line is not None and len(line.foregrounds) != len(take.foregrounds):
            raise BadInput(
                f"{folder} holds {len(take.foregrounds)} foregrounds, its line of prompts has "
                f"{len(line.foregrounds)}: write a prompt for each"
            )
        yield Shot(folder.name, take, line, _truth_of(folder, take, truth))


def _read(folder: Path) -> Stack:
    files = read_layers(folder)
    forms, _ = colour_forms(files)
    return stack_of(files, forms)


def _truth_of(folder: Path, take: Stack, truth: Path | None) -> Stack | None:
    if truth is None:
        return None
    place = truth if _holds_full(truth) else truth / folder.name
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
