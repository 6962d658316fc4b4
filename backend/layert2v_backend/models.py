"""Which models there are and what they can do, read from `layert2v.json` alone. No torch."""

import importlib.util
import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

from annotated_types import Ge, Gt, Le, Len
from pydantic import TypeAdapter, ValidationError

from layert2v_backend.errors import ModelDamaged, UnknownModel
from layert2v_model.errors import reason_of
from layert2v_words import Vocabulary

DESCRIPTION_FILE = "layert2v.json"
DEFAULT_MODEL = "tiny"

_Count = Annotated[int, Ge(1)]


@dataclass(frozen=True)
class Limits:
    """What `layert2v.json` says."""

    id: Annotated[str, Len(1, 63)]
    """What a shot names."""
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
    """Folder name to what is wrong with it, one sentence."""

    def find(self, model_id: str) -> Model:
        """Find a model; empty: the default one.

        Raises:
            UnknownModel: There is none; the message lists those there are.
            ModelDamaged: Its description cannot be read.
        """
        model_id = model_id or DEFAULT_MODEL
        if model_id in self.models:
            return self.models[model_id]
        if model_id in self.damaged:
            raise ModelDamaged(self.damaged[model_id])
        known = ", ".join(self.models) or "none"
        raise UnknownModel(
            f"there is no model {model_id!r}: known are {known}; name a folder with --models-dir"
        )


def shipped_folder() -> Path:
    """Say where the models are that come with `layert2v_model`, without importing it."""
    spec = importlib.util.find_spec("layert2v_model")
    assert spec is not None
    assert spec.submodule_search_locations is not None
    return Path(spec.submodule_search_locations[0])


def find_models(models_dirs: Sequence[Path] = ()) -> Catalogue:
    """Find the shipped models and those in `models_dirs`; the first of an id wins.

    A folder of `models_dirs` is a model itself or holds model folders. Later ones of an id are
    among the damaged, with the remedy.
    """
    models: dict[str, Model] = {}
    damaged: dict[str, str] = {}
    for folder in [shipped_folder() / DEFAULT_MODEL, *_model_folders(models_dirs)]:
        if not (folder / DESCRIPTION_FILE).is_file():
            continue
        try:
            limits = read_limits(folder)
        except ModelDamaged as failure:
            damaged[folder.name] = failure.message
            continue
        first = models.setdefault(limits.id, Model(limits, folder))
        if first.folder.resolve() != folder.resolve():
            damaged[folder.name] = (
                f"{folder} calls itself {limits.id!r}, as {first.folder} does; "
                f"give it another `id` in its {DESCRIPTION_FILE}"
            )
    return Catalogue(models, damaged)


def _model_folders(models_dirs: Sequence[Path]) -> list[Path]:
    folders: list[Path] = []
    for folder in models_dirs:
        is_model = (folder / DESCRIPTION_FILE).exists()
        children = sorted(folder.iterdir()) if folder.is_dir() else []
        folders += [folder] if is_model else [child for child in children if child.is_dir()]
    return folders


def read_limits(folder: Path) -> Limits:
    """Read a model folder's description.

    Raises:
        ModelDamaged: It is missing, no JSON, or lacks a field; the message names it.
    """
    path = folder / DESCRIPTION_FILE
    try:
        return _LIMITS.validate_python(json.loads(path.read_text(encoding="utf-8")))
    except (OSError, ValueError) as failure:
        raise ModelDamaged(
            f"{path} cannot be used ({_fault(failure, path)}): install the model again"
        ) from failure


def _fault(failure: OSError | ValueError, path: Path) -> str:
    if isinstance(failure, ValidationError):
        first = failure.errors()[0]
        return f"{'.'.join(map(str, first['loc']))}: {first['msg']}"
    return reason_of(failure, path)


_LIMITS = TypeAdapter(Limits)
