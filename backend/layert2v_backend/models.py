"""Which models there are and what they can do, read from `layert2v.json` alone. No torch."""

import importlib.util
import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

from annotated_types import Ge, Gt, Le, Len
from pydantic import Field, TypeAdapter, ValidationError

from layert2v_backend.errors import ModelDamaged, UnknownModel, shown, words_of
from layert2v_words import Vocabulary

DESCRIPTION_FILE = "layert2v.json"
DEFAULT_MODEL = "tiny"

_MARKS = (DESCRIPTION_FILE, "model_index.json", "transformer")
"""A folder that has one of these was meant to be a model."""
_MAX_LISTED = 32
"""Ids in a message."""
_Count = Annotated[int, Ge(1)]
_Id = Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,62}$")]


@dataclass(frozen=True)
class Limits:
    """What `layert2v.json` says."""

    id: _Id
    """What a shot names: letters, digits, dots, dashes and underscores, up to 63."""
    description: str
    """One sentence."""
    sizes: Annotated[tuple[tuple[_Count, _Count], ...], Len(1)]
    """Widths and heights in pixels; the first is the default."""
    num_frames: Annotated[tuple[_Count, ...], Len(1)]
    """Lengths in frames; the first is the default."""
    max_foregrounds: _Count
    """Most foregrounds of a shot."""
    max_prompt_chars: _Count
    """Most characters of a prompt."""
    default_num_inference_steps: Annotated[int, Ge(1), Le(200)]
    """Steps of a shot that does not say."""
    default_guidance_scale: Annotated[float, Ge(1), Le(20)]
    """Guidance of a shot that does not say."""
    fps: Annotated[float, Gt(0)]
    """Frames per second the model was trained at."""
    vocabulary: Vocabulary | None = None
    """What it was taught to draw; None: nobody can say which words it knows."""


@dataclass(frozen=True)
class Model:
    """A model and where it is."""

    limits: Limits
    """What it can do."""
    folder: Path
    """Its diffusers folder."""


@dataclass(frozen=True)
class Catalogue:
    """The models of this backend."""

    models: dict[str, Model]
    """By id; the default model first where it is there."""
    damaged: dict[str, str]
    """Id, or folder name where there is none, to what is wrong with it: one sentence for clients,
    without a path."""
    faults: tuple[str, ...] = ()
    """What is wrong with folders, one sentence each with its path: for the log and the console."""

    def find(self, model_id: str) -> Model:
        """Find a model; an empty id names the default model.

        Raises:
            UnknownModel: There is none; the message lists those there are.
            ModelDamaged: Its description cannot be read, or several folders have the id.
        """
        model_id = model_id or DEFAULT_MODEL
        if model_id in self.models:
            return self.models[model_id]
        if model_id in self.damaged:
            raise ModelDamaged(self.damaged[model_id])
        known = ", ".join(list(self.models)[:_MAX_LISTED]) or "none"
        raise UnknownModel(
            f"there is no model {shown(model_id)}: known are {known}; "
            f"name a folder with --models-dir"
        )


def shipped_folder() -> Path:
    """Say where the models are that come with `layert2v_model`, without importing it."""
    spec = importlib.util.find_spec("layert2v_model")
    assert spec is not None
    assert spec.submodule_search_locations is not None
    return Path(spec.submodule_search_locations[0])


def find_models(models_dirs: Sequence[Path] = ()) -> Catalogue:
    """Find the shipped models and those in `models_dirs`.

    A folder of `models_dirs` is a model itself or holds model folders. An id that several folders
    have is refused, because nobody could say which of them made a take; a shipped model keeps its
    id.
    """
    found = _Found()
    shipped = shipped_folder() / DEFAULT_MODEL
    if (shipped / DESCRIPTION_FILE).is_file():
        found.add(shipped)
    for folder in models_dirs:
        for model_folder in found.folders_in(folder):
            found.add(model_folder)
    return found.catalogue(shipped)


class _Found:
    """Collects models by id, and what is wrong with folders."""

    def __init__(self) -> None:
        self._models: dict[str, list[Model]] = {}
        self._damaged: dict[str, str] = {}
        self._faults: list[str] = []

    def folders_in(self, folder: Path) -> list[Path]:
        """The folders that are models or were meant to be; a folder without any is a fault."""
        try:
            if (folder / DESCRIPTION_FILE).exists():
                return [folder]
            children = sorted(child for child in folder.iterdir() if child.is_dir())
            meant = [child for child in children if any((child / it).exists() for it in _MARKS)]
        except OSError as failure:
            self._faults.append(f"{folder} cannot be read ({words_of(failure)}): name another")
            return []
        if not meant:
            self._faults.append(
                f"{folder} is no model and holds none: name a folder with a {DESCRIPTION_FILE}"
            )
        return meant

    def add(self, folder: Path) -> None:
        try:
            limits = read_limits(folder)
        except ModelDamaged as failure:
            self._damaged[folder.name] = failure.message
            self._faults.append(f"{folder}: {failure.message}")
            return
        same = self._models.setdefault(limits.id, [])
        if all(model.folder.resolve() != folder.resolve() for model in same):
            same.append(Model(limits, folder))

    def catalogue(self, shipped: Path) -> Catalogue:
        """Give what was found; ids that clash become damaged ones."""
        models: dict[str, Model] = {}
        damaged, faults = dict(self._damaged), list(self._faults)
        for model_id, same in self._models.items():
            is_shipped = same[0].folder == shipped
            if is_shipped or len(same) == 1:
                models[model_id] = same[0]
            else:
                names = ", ".join(model.folder.name for model in same)
                damaged[model_id] = (
                    f"the model id {model_id!r} is that of several folders ({names}): "
                    f"give each another `id` in its {DESCRIPTION_FILE}"
                )
            if len(same) > 1:
                paths = ", ".join(str(model.folder) for model in same[is_shipped:])
                whose = "the shipped model's" if is_shipped else "that of several folders"
                faults.append(
                    f"the model id {model_id!r} is {whose} and refused: "
                    f"give another `id` in the {DESCRIPTION_FILE} of {paths}"
                )
        return Catalogue(models, damaged, tuple(faults))


def read_limits(folder: Path) -> Limits:
    """Read a model folder's description.

    Raises:
        ModelDamaged: It is missing, no JSON, or lacks a field; the message names it.
    """
    path = folder / DESCRIPTION_FILE
    try:
        return _LIMITS.validate_python(json.loads(path.read_text(encoding="utf-8")))
    except (OSError, ValueError, RecursionError) as failure:
        raise ModelDamaged(
            f"the {DESCRIPTION_FILE} of the model folder {folder.name!r} cannot be used "
            f"({_fault(failure)}): install the model again"
        ) from failure


def _fault(failure: OSError | ValueError | RecursionError) -> str:
    """Word what is wrong with a description, without a path and without Python's texts."""
    if isinstance(failure, OSError):
        return words_of(failure)
    if isinstance(failure, ValidationError):
        first = failure.errors()[0]
        name = ".".join(map(str, first["loc"]))
        if not name:
            return "it is no object of fields"
        return f"`{name}` is missing" if first["type"] == "missing" else f"`{name}` is wrong"
    return "it is no JSON"


_LIMITS = TypeAdapter(Limits)
