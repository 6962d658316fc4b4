"""Footage by its name, and folders whose footage has the names of the authors' page.

`layert2v-finish` and `layert2v-evaluate` read the same names: `full`, `background`,
`foreground[_k]` and `matte[_k]`, numbered back to front.
"""

import re
from pathlib import Path

from layert2v_media.kinds import find_layer
from layert2v_training.data.problems import reading

_FOREGROUND = re.compile(r"foreground(_\d+)?")


def find_footage(folder: Path, name: str) -> Path | None:
    """Find a layer's folder of pictures, or its movie, by name. Any case will do.

    Raises:
        BadClip: There are two of that name.
    """
    with reading(folder):
        return find_layer(folder, name)


def is_foreground(name: str) -> bool:
    """Tell whether a layer is `foreground` or `foreground_k`."""
    return _FOREGROUND.fullmatch(name) is not None


def number_of(name: str) -> int:
    """Return the number of a foreground, from 1; 0 where it has none."""
    return int(name.partition("_")[2] or 0)


def find_matte(folder: Path, name: str) -> Path | None:
    """Find the matte that belongs to `foreground` or `foreground_k`."""
    return find_footage(folder, name.replace("foreground", "matte"))


def holds_named_layers(folder: Path) -> bool:
    """Tell whether a folder is a clip by the names of its footage, whatever texts it holds."""
    if find_footage(folder, "background") is None:
        return False
    others = ("full", "foreground", "foreground_1", "matte", "matte_1")
    return any(find_footage(folder, name) is not None for name in others)
