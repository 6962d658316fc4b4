"""Texts beside clips. Every fault of one becomes a `BadClip` with its file and field."""

import json
import reprlib
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, TypeVar

import yaml
from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

from layert2v_training.data.encodings import read_text
from layert2v_training.data.problems import BadClip, shortened

Text = TypeVar("Text", bound=BaseModel)

_REPR = reprlib.Repr()
"""Shows the first few of what a text says: aliases of YAML may stand for a billion values."""
_REPR.maxstring = _REPR.maxother = 200

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
    text, suffix = read_text(description), description.suffix.lower()
    if suffix == ".txt":
        return _lines(description, text)
    try:
        read = parse_json(text) if suffix == ".json" else yaml.load(text, _Loader)
    except RecursionError as failure:
        raise BadClip(description, "is nested too deeply; correct it") from failure
    except (ValueError, yaml.YAMLError) as failure:
        reason = f"cannot be read: {_said(failure)}; correct it"
        raise BadClip(description, reason) from failure
    if not isinstance(read, dict):
        raise BadClip(description, "should map names of layers to captions")
    return read


def _said(failure: Exception) -> str:
    """Take a parser's words without its excerpts of the text."""
    if isinstance(failure, yaml.MarkedYAMLError) and failure.problem_mark is not None:
        return f"{failure.problem} in line {failure.problem_mark.line + 1}"
    return shortened(str(failure), 200)


def _lines(description: Path, text: str) -> dict[str, Any]:
    """Read lines of `name: text`."""
    pairs = []
    for number, line in enumerate(text.splitlines(), start=1):
        name, colon, said = (part.strip() for part in line.partition(":"))
        if name and not colon:
            reason = f"names no layer in its line {number}; write `name: {shortened(name, 40)}`"
            raise BadClip(description, reason)
        if name or said:
            pairs.append((name, said))
    try:
        return _unique(pairs)
    except _GivenTwice as failure:
        raise BadClip(description, f"cannot be read: {failure}; correct it") from failure


class _GivenTwice(ValueError):
    """Raised when a mapping has a key twice: which one counts, nobody says."""


def _unique(pairs: Iterable[tuple[str, Any]]) -> dict[str, Any]:
    read: dict[str, Any] = {}
    for name, value in pairs:
        if name in read:
            raise _GivenTwice(f"{name} is given twice")
        read[name] = value
    return read


def parse_json(text: str) -> Any:
    """Read JSON in which no key is given twice.

    Raises:
        ValueError: It is none, or a key is given twice.
        RecursionError: It is nested too deeply.
    """
    return json.loads(text, object_pairs_hook=_unique)


class _Loader(yaml.SafeLoader):
    """Reads YAML in which no key is given twice."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> Mapping[Any, Any]:
        keys = [key.value for key, _ in node.value if isinstance(key, yaml.ScalarNode)]
        twice = next((key for key in keys if key != "<<" and keys.count(key) > 1), None)
        if twice is not None:
            raise _GivenTwice(f"{twice} is given twice in line {node.start_mark.line + 1}")
        return super().construct_mapping(node, deep)


def validated(kind: type[Text], where: Path, read: object) -> Text:
    """Make a text's values an object of `kind`, a pydantic model.

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
    value = shortened(_REPR.repr(error["input"]))
    if error["type"] == "missing":
        return f"{field} is needed and missing; add it"
    if error["type"] == "extra_forbidden":
        return f"{field} is not known; remove it"
    return f"{field} is {value}: {_NEEDED.get(error['type'], error['msg'])}"
