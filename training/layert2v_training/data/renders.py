"""The user's own layered renders: a folder with footage and a text that captions it.

The text is `clip.yaml`, `clip.json` or `clip.txt`, one layer to a line, back to front:

    background: an empty beach at dusk
    fox: a red fox trotting to the right

A name is a movie or a folder of pictures beside the text (`fox.mov`, `fox/`), or a layer of the
folder's only EXR sequence. YAML and JSON may say more: `fox: {caption: ..., file: v3/fox.mov,
layer: ..., matte: fox_matte.mov, premultiplied: true}`, and `fps: 24`, `full: comp.mov`,
`full_caption: ...`.

If foregrounds are named as in `named`, `matte[_k]` and `full` beside them are used unasked.
"""

import re
from collections.abc import Mapping
from fractions import Fraction
from pathlib import Path
from typing import Any

from pydantic import BaseModel, model_validator

from layert2v_media.kinds import IMAGE_SUFFIXES, MOVIE_SUFFIXES, is_movie, listed, said_of_others
from layert2v_training.data.clip_files import ClipFiles, ClipLayer
from layert2v_training.data.clip_footage import Footage
from layert2v_training.data.named import find_footage, find_matte, is_foreground, number_of
from layert2v_training.data.problems import BadClip, reading, shortened
from layert2v_training.data.texts import read_mapping, validated

_RATE = re.compile(r"\d{1,9}(\.\d{1,9}|/\d{1,9})?")
_MAX_FPS = 1000

DESCRIPTIONS = ("clip.yaml", "clip.yml", "clip.json", "clip.txt")


class _Layer(BaseModel, extra="forbid"):
    """A description's entry for a layer: a caption, or a mapping."""

    caption: str | None = None
    file: str | None = None
    layer: str | None = None
    matte: str | None = None
    premultiplied: bool = False

    @model_validator(mode="before")
    @classmethod
    def _from_caption(cls, said: object) -> object:
        return said if isinstance(said, dict) else {"caption": said}


class _Description(BaseModel, extra="allow"):
    """A description: settings by name, every other name a layer."""

    __pydantic_extra__: dict[str, _Layer]
    fps: object = None
    full: str | None = None
    full_caption: str | None = None


def find_description(folder: Path) -> Path | None:
    """Give the text that describes a folder, in any case, or None.

    Raises:
        BadClip: There are two.
    """
    with reading(folder):
        found = [p for p in listed(folder) if p.name.lower() in DESCRIPTIONS and p.is_file()]
    if len(found) > 1:
        said = " and ".join(path.name for path in found)
        raise BadClip(folder, f"holds {said}; keep one of them")
    return found[0] if found else None


def from_folder(description: Path) -> ClipFiles:
    """Find the layers that a description names.

    Raises:
        BadClip: It cannot be read, a caption is missing, or a layer's footage is not there.
    """
    folder = description.parent
    return from_mapping(folder, folder, read_mapping(description), description)


def from_mapping(
    where: Path, folder: Path, described: Mapping[str, Any], text: Path | None = None
) -> ClipFiles:
    """Find the layers of a description already read; relative paths start at `folder`.

    Args:
        where: Name of the clip in a message.
        folder: Folder at which relative paths start.
        described: The description.
        text: The file it was in; None: `where`.

    Raises:
        BadClip: As `from_folder`.
    """
    said = validated(_Description, text or where, described)
    layers = said.__pydantic_extra__
    if "background" not in layers or len(layers) < 2:
        raise BadClip(where, f"describes {', '.join(layers) or 'nothing'}: `background` and at "
                             f"least one more layer are needed")  # fmt: skip
    found = {name: _layer(where, folder, name, layer) for name, layer in layers.items()}
    background = found.pop("background")
    if background.colour is None:
        raise BadClip(where, "the background has no footage")
    full, caption = said.full, said.full_caption or ""
    if all(map(is_foreground, found)):
        found = dict(sorted(found.items(), key=lambda item: number_of(item[0])))
        full, caption = _named_full(folder, full, caption)
    return ClipFiles(
        where,
        background.colour,
        background.caption,
        tuple(found.values()),
        Footage(folder / full) if full else None,
        caption,
        _rate(where, said.fps) if "fps" in described else None,
    )


def _named_full(folder: Path, said: str | None, caption: str) -> tuple[str | None, str]:
    """Return the file of the full video and its caption, where layers go by their usual names.

    A line `full: ...` names a file. Where footage is called `full`, it may be the caption instead.
    """
    beside = find_footage(folder, "full")
    if beside is None:
        return said, caption
    if said is None:
        return beside.name, caption
    is_file = is_movie(Path(said)) or (folder / said).exists()
    return (said, caption) if is_file else (beside.name, caption or said)


def _rate(where: Path, value: object) -> Fraction:
    said = str(value)
    try:
        rate = Fraction(said) if _RATE.fullmatch(said) else Fraction(0)
    except ZeroDivisionError:
        rate = Fraction(0)
    if not 0 < rate <= _MAX_FPS:
        raise BadClip(
            where,
            f"fps is {shortened(said)}; a positive number or fraction up to {_MAX_FPS} is needed "
            f"(30000/1001)",
        )
    return rate


def _layer(where: Path, folder: Path, name: str, said: _Layer) -> ClipLayer:
    caption = (said.caption or "").strip()
    if not caption:
        raise BadClip(where, f"layer {name} has no caption; write one after its name")
    matte = _in(folder, said.matte) if said.matte else None
    if matte is None and is_foreground(name):
        matte = find_matte(folder, name)
    colour = _footage(where, folder, name, said, has_matte=matte is not None)
    is_over_fill = is_foreground(name) and matte is not None and colour is not None
    return ClipLayer(caption, colour, Footage(matte) if matte else None, is_over_fill)


def _footage(
    where: Path, folder: Path, name: str, said: _Layer, *, has_matte: bool
) -> Footage | None:
    place = _in(folder, said.file) if said.file else find_footage(folder, name)
    if place is not None:
        return Footage(place, said.layer, said.premultiplied)
    if has_matte:
        return None
    sequences = [path for path in (folder, *listed(folder)) if _is_exr_sequence(path)]
    if len(sequences) != 1:
        kinds = ", ".join((*MOVIE_SUFFIXES, *IMAGE_SUFFIXES))
        raise BadClip(where, f"layer {name} has no footage: a movie or a folder {name} ({kinds}), "
                             f"or one EXR sequence with a layer {name}"
                             f"{said_of_others(folder, name)}")  # fmt: skip
    return Footage(sequences[0], said.layer or name)


def _is_exr_sequence(path: Path) -> bool:
    return path.is_dir() and any(inside.suffix.lower() == ".exr" for inside in listed(path))


def _in(folder: Path, said: str) -> Path:
    """Find a file that a text names, as it is written or in another case."""
    path = folder / said
    if path.exists() or not path.parent.is_dir():
        return path
    wanted = path.name.casefold()
    alike = [beside for beside in listed(path.parent) if beside.name.casefold() == wanted]
    return alike[0] if len(alike) == 1 else path
