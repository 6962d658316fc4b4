"""Data and precision of a model's training, in words for its card, from its runs' bindings."""

import re
from itertools import groupby
from pathlib import Path

from layert2v_training.runs.run_binding import BINDING, Values, precisions_of, read_values

COMPOSED = "composed scenes of emoji over photographs"


def trained_on(folder: Path, before: Path) -> str:
    """Say what a folder's run learned from, such as `48 clips from 'crabs', starting from tiny`.

    Args:
        folder: Folder of the run.
        before: Folder of the stage before. It is named if the run went on from it.

    Returns:
        Words to follow `trained on`; empty where no run says.
    """
    values = _values_of(folder)
    if values is None:
        return ""
    sources = [_source(values)]
    if values.get("stage before"):
        values = _values_of(before) or values
        sources.insert(0, _source(values))
    words = ", then on ".join(dict.fromkeys(sources))
    start = values.get("--init")
    return words + (f", starting from {_name_in(start)}" if start else "")


def trained_in(folder: Path, before: Path) -> str:
    """Say in which precision a folder's run computed: `bfloat16`, or `float32, then bfloat16`.

    Args:
        folder: Folder of the run.
        before: Folder of the stage before. It is counted if the run went on from it.

    Returns:
        Empty where no run says.
    """
    values = _values_of(folder)
    went_on = values is not None and values.get("stage before")
    found = [*(precisions_of(before) if went_on else ()), *precisions_of(folder)]
    return ", then ".join(name for name, _ in groupby(found))


def _values_of(folder: Path) -> Values | None:
    path = folder / BINDING
    return read_values(path) if path.is_file() else None


def _source(values: Values) -> str:
    data = values.get("--data")
    if not data:
        return COMPOSED
    count = values.get("num_clips")
    own = f"{count} clip{'' if count == 1 else 's'} from '{_name_in(data)}'"
    composed = re.search(r" and (\d+) composed$", data)
    return own + (f" and {composed[1]} {COMPOSED}" if composed else "")


def _name_in(value: str) -> str:
    """Take the name out of `NAME (DIGEST)`, whatever follows."""
    return re.sub(r" \(\w+\)( and \d+ composed)?$", "", value)
