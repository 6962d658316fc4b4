"""Texts beside clips: whatever is wrong with one becomes a `BadClip` with its file and field."""

import json
from pathlib import Path
from typing import Any, TypeVar

import yaml
from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

from layert2v_training.data.problems import BadClip, reading

Text = TypeVar("Text", bound=BaseModel)

_NEEDED = {
    "string_type": "a text is needed; put it in quotes",
    "invalid_key": "names are texts; put it in quotes",
    "model_type": "a mapping of names to values is needed",
}
"""Kinds of pydantic's errors in the words of those who write the texts."""


def read_mapping(description: Path) -> dict[str, Any]:
    """Read a `.txt` of `name: text` lines, a `.json` or a YAML file as a mapping.

    Raises:
        BadClip: It is not one.
    """
    with reading(description):
        text = description.read_text("utf-8-sig")
    try:
        if description.suffix == ".txt":
            lines = [line.partition(":") for line in text.splitlines() if line.strip()]
            return {name.strip(): caption.strip() for name, _, caption in lines}
        read = json.loads(text) if description.suffix == ".json" else yaml.safe_load(text)
    except (ValueError, RecursionError, yaml.YAMLError) as failure:
        raise BadClip(description, f"cannot be read: {failure}; correct it") from failure
    if not isinstance(read, dict):
        raise BadClip(description, "should map names of layers to captions")
    return read


def validated(kind: type[Text], where: Path, read: object) -> Text:
    """Check what a text says against a model.

    Raises:
        BadClip: Names `where`, and each field that is wrong with its value and what is needed.
    """
    try:
        return kind.model_validate(read, strict=True)
    except ValidationError as failure:
        said = "; ".join(map(_described, failure.errors()))
        raise BadClip(where, said) from failure


def _described(error: ErrorDetails) -> str:
    field = ".".join(map(str, error["loc"])) or "it"
    value = repr(error["input"])
    value = value if len(value) <= 60 else f"{value[:57]}..."
    if error["type"] == "missing":
        return f"{field} is needed and missing; add it"
    if error["type"] == "extra_forbidden":
        return f"{field} is not known; remove it"
    return f"{field} is {value}: {_NEEDED.get(error['type'], error['msg'])}"
