"""The user's own layered renders: a folder with footage and a text that captions it.

The text is `clip.yaml`, `clip.json` or `clip.txt`, one layer to a line, back to front:

    background: an empty beach at dusk
    fox: a red fox trotting to the right

A name is a movie or a folder of pictures beside the text (`fox.mov`, `fox/`), or a layer of the
folder's only EXR sequence. YAML and JSON may say more: `fox: {caption: ..., file: v3/fox.mov,
layer: ..., matte: fox_matte.mov}`, and `fps: 24`, `full: comp.mov`, `full_caption: ...`.
"""

import json
from collections.abc import Mapping
from fractions import Fraction
from pathlib import Path
from typing import Any

import yaml

from layert2v_model.media import IMAGE_SUFFIXES, MOVIE_SUFFIXES
from layert2v_training.data.clip_files import ClipFiles, LayerFiles
from layert2v_training.data.footage import Footage
from layert2v_training.data.problems import BadClip

DESCRIPTIONS = ("clip.yaml", "clip.yml", "clip.json", "clip.txt")
_SETTINGS = ("fps", "full", "full_caption")
_LAYER_KEYS = {"caption", "file", "layer", "matte"}


def find_description(folder: Path) -> Path | None:
    """Give the text that describes a folder, or None."""
    return next((folder / name for name in DESCRIPTIONS if (folder / name).is_file()), None)


def from_folder(description: Path) -> ClipFiles:
    """Find the layers that a description names.

    Raises:
        BadClip: It cannot be read, a caption is missing, or a layer's footage is not there.
    """
    return from_mapping(description.parent, description.parent, read_mapping(description))


def from_mapping(where: Path, folder: Path, described: Mapping[str, Any]) -> ClipFiles:
    """Find the layers of a description already read; relative paths start at `folder`.

    Raises:
        BadClip: As `from_folder`.
    """
    layers = {name: value for name, value in described.items() if name not in _SETTINGS}
    if "background" not in layers or len(layers) < 2:
        raise BadClip(where, f"describes {', '.join(layers) or 'nothing'}: `background` and at "
                             f"least one more layer are needed")  # fmt: skip
    found = {name: _layer(where, folder, name, value) for name, value in layers.items()}
    background = found.pop("background")
    if background.colour is None:
        raise BadClip(where, "the background has no footage")
    full = described.get("full")
    return ClipFiles(
        where,
        background.colour,
        background.caption,
        tuple(found.values()),
        Footage(folder / str(full)) if full else None,
        str(described.get("full_caption", "")),
        _rate(where, described["fps"]) if "fps" in described else None,
    )


def read_mapping(description: Path) -> dict[str, Any]:
    """Read a description as a mapping.

    Raises:
        BadClip: It is not one.
    """
    try:
        text = description.read_text("utf-8")
        if description.suffix == ".txt":
            lines = [line.partition(":") for line in text.splitlines() if line.strip()]
            return {name.strip(): caption.strip() for name, _, caption in lines}
        read = json.loads(text) if description.suffix == ".json" else yaml.safe_load(text)
    except (ValueError, yaml.YAMLError) as failure:
        raise BadClip(description, f"cannot be read: {failure}") from failure
    if not isinstance(read, dict):
        raise BadClip(description, "should map names of layers to captions")
    return read


def _rate(where: Path, value: object) -> Fraction:
    try:
        rate = Fraction(str(value))
    except (ValueError, ZeroDivisionError):
        rate = Fraction(0)
    if rate <= 0:
        raise BadClip(
            where, f"fps is {value}; a positive number or fraction is needed (30000/1001)"
        )
    return rate


def _layer(where: Path, folder: Path, name: str, value: object) -> LayerFiles:
    said = value if isinstance(value, dict) else {"caption": value}
    unknown = set(said) - _LAYER_KEYS
    if unknown:
        raise BadClip(where, f"layer {name} says {', '.join(sorted(unknown))}; it may say "
                             f"{', '.join(sorted(_LAYER_KEYS))}")  # fmt: skip
    caption = str(said.get("caption") or "").strip()
    if not caption:
        raise BadClip(where, f"layer {name} has no caption")
    colour = _footage(where, folder, name, said)
    matte = Footage(folder / str(said["matte"])) if said.get("matte") else None
    return LayerFiles(caption, colour, matte)


def _footage(where: Path, folder: Path, name: str, said: Mapping[str, Any]) -> Footage | None:
    if said.get("file"):
        return Footage(folder / str(said["file"]), said.get("layer"))
    for candidate in (folder / name, *(folder / f"{name}{suffix}" for suffix in MOVIE_SUFFIXES)):
        if candidate.exists():
            return Footage(candidate, said.get("layer"))
    if said.get("matte"):
        return None
    sequences = [path for path in (folder, *sorted(folder.iterdir())) if _is_exr_sequence(path)]
    if len(sequences) != 1:
        kinds = ", ".join((*MOVIE_SUFFIXES, *IMAGE_SUFFIXES))
        raise BadClip(where, f"layer {name} has no footage: a movie or a folder {name} ({kinds}), "
                             f"or one EXR sequence with a layer {name}")  # fmt: skip
    return Footage(sequences[0], said.get("layer") or name)


def _is_exr_sequence(path: Path) -> bool:
    return path.is_dir() and any(path.glob("*.exr"))
