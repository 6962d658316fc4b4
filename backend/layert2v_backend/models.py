"""Finds the models and their abilities by reading `layert2v.json` alone. No torch."""

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
"""Files that mark a folder as a model."""
_MAX_LISTED = 32
"""Most ids in a message."""
_Count = Annotated[int, Ge(1)]
_Id = Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,62}$")]


@dataclass(frozen=True)
class Limits:
    """The content of `layert2v.json`."""

    id: _Id
    """The name for shots: up to 63 letters, digits, dots, dashes and underscores."""
    description: str
    """One sentence about the model."""
    sizes: Annotated[tuple[tuple[_Count, _Count], ...], Len(1)]
    """Widths and heights in pixels. The first pair is the default."""
    num_frames: Annotated[tuple[_Count, ...], Len(1)]
    """Lengths in frames. The first is the default."""
    max_foregrounds: _Count
    """Most foregrounds of a shot."""
    max_prompt_chars: _Count
    """Most characters of a prompt."""
    default_num_inference_steps: Annotated[int, Ge(1), Le(200)]
    """Default number of steps."""
    default_guidance_scale: Annotated[float, Ge(1), Le(20)]
    """Default guidance scale."""
    fps: Annotated[float, Gt(0)]
    """Frames per second of its training footage."""
    vocabulary: Vocabulary | None = None
    """The words that it was taught. None if they are not known."""


@dataclass(frozen=True)
class Model:
    """A model and its folder."""

    limits: Limits
    """Its abilities."""
    folder: Path
    """Its diffusers folder."""


@dataclass(frozen=True)
class Catalogue:
    """The models of this backend."""

    models: dict[str, Model]
    """Models by id. The default model is first, if it exists."""
    damaged: dict[str, str]
    """Faults by model id, or by folder name if the model has no id. Each is one sentence for "
    "clients, without a path."""
    faults: tuple[str, ...] = ()
    """Faults of folders, one sentence each with its path, for the log and the console."""

    def find(self, model_id: str) -> Model:
        """Find a model. An empty id names the default model.

        Raises:
            UnknownModel: It does not exist. The message lists the known models.
            ModelDamaged: Its description cannot be read, or several folders have the id.
        """
        model_id = model_id or DEFAULT_MODEL
        if model_id in self.models:
            return self.models[model_id]
        if model_id in self.damaged:
            raise ModelDamaged(self.damaged[model_id])
        known = ", ".join(list(self.models)[:_MAX_LISTED]) or "none"
        raise UnknownModel(
            f"there is no model {shown(model_id)}, known are {known}: choose one, or name its "
            "folder with --models-dir"
        )


def shipped_folder() -> Path:
    """Give the folder of the models inside `layert2v_model`, without importing it."""
    spec = importlib.util.find_spec("layert2v_model")
    assert spec is not None
    assert spec.submodule_search_locations is not None
    return Path(spec.submodule_search_locations[0])


def find_models(models_dirs: Sequence[Path] = ()) -> Catalogue:
    """Find the shipped models and those in `models_dirs`.

    A folder of `models_dirs` is a model itself or holds model folders. An id of several folders is
    refused, because a take could not name its model. A shipped model keeps its id.
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
    """Collects models by id, and the faults of folders."""

    def __init__(self) -> None:
        self._models: dict[str, list[Model]] = {}
        self._damaged: dict[str, str] = {}
        self._faults: list[str] = []

    def folders_in(self, folder: Path) -> list[Path]:
        """List the folders that are or should be models. A folder without any is a fault."""
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
                f"{folder} is not a model and holds none: name a folder with a {DESCRIPTION_FILE}"
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
        """Give the catalogue. Ids that clash become damaged models."""
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
        ModelDamaged: The description is missing, is not JSON, or lacks a field. The message names
            the fault.
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
    """Describe a description's fault, without a path and without Python's texts."""
    if isinstance(failure, OSError):
        return words_of(failure)
    if isinstance(failure, ValidationError):
        first = failure.errors()[0]
        name = ".".join(map(str, first["loc"]))
        if not name:
            return "it is not an object of fields"
        return f"`{name}` is missing" if first["type"] == "missing" else f"`{name}` is wrong"
    return "it is not JSON"


_LIMITS = TypeAdapter(Limits)
