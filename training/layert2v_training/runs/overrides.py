"""Changes of a recipe by name, from YAML files and `--set NAME=VALUE`, checked before training.

Names are fields joined by dots, such as `joint.loop.learning_rate`. Values are YAML.
"""

import dataclasses
import difflib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar, get_args, get_type_hints

import yaml
from pydantic import TypeAdapter, ValidationError

from layert2v_model.errors import reason_of

Changed = TypeVar("Changed")


class InvalidRecipe(ValueError):
    """Raised when a recipe has an unknown, wrong or conflicting field. The message names it."""


def read_overrides(files: Sequence[Path], assignments: Sequence[str]) -> dict[str, Any]:
    """Collect changes as a nested mapping. Later files win, and assignments win over files.

    Args:
        files: YAML, mappings of fields.
        assignments: `a.b.c=value`.

    Raises:
        InvalidRecipe: A file or an assignment cannot be read, or a field is set twice.
    """
    merged: dict[str, Any] = {}
    for path in files:
        _merge(merged, _read(path))
    assigned: dict[str, Any] = {}
    seen: dict[str, str] = {}
    for assignment in assignments:
        name, equals, text = assignment.partition("=")
        if not equals or not name:
            raise InvalidRecipe(f"--set {assignment} has no value; write --set NAME=VALUE")
        for other in seen:
            if f"{name}.".startswith(f"{other}.") or f"{other}.".startswith(f"{name}."):
                raise InvalidRecipe(
                    f"--set {seen[other]} and --set {assignment} conflict; keep one"
                )
        seen[name] = assignment
        _merge(assigned, _nested(name.split("."), _parse(text, assignment)))
    _merge(merged, assigned)
    return merged


def apply_overrides(recipe: Changed, changes: Mapping[str, Any]) -> Changed:
    """Return `recipe`, a tree of dataclasses, with the changes.

    Raises:
        InvalidRecipe: Names a field that does not exist or whose value is not of its type.
    """
    result: Changed = _changed(recipe, type(recipe), changes, "")
    return result


def _read(path: Path) -> dict[str, Any]:
    try:
        text = path.read_text()
    except (OSError, UnicodeDecodeError) as error:
        raise InvalidRecipe(
            f"{path} cannot be read ({reason_of(error, path)}); give a YAML file"
        ) from None
    content = _parse(text, str(path))
    if content is None:
        return {}
    if not isinstance(content, dict):
        raise InvalidRecipe(f"{path} holds no fields; write lines such as `num_clips: 100`")
    return content


def _parse(text: str, where: str) -> Any:
    try:
        return yaml.safe_load(text)
    except yaml.YAMLError as error:
        words = " ".join(str(error).split())
        raise InvalidRecipe(f"{where} is not YAML ({words}); correct it") from None


def _nested(names: Sequence[str], value: Any) -> dict[str, Any]:
    return {names[0]: _nested(names[1:], value) if len(names) > 1 else value}


def _merge(into: dict[str, Any], changes: Mapping[str, Any]) -> None:
    for name, value in changes.items():
        if isinstance(value, dict) and isinstance(into.get(name), dict):
            _merge(into[name], value)
        else:
            into[name] = value


def _changed(value: Any, kind: Any, change: Any, name: str) -> Any:
    """Change a value of type `kind`: dataclasses and mappings by parts, else as a whole."""
    known = _dataclass_in(kind)
    if known is not None and isinstance(change, Mapping):
        hints = get_type_hints(known, include_extras=True)
        _check_names(change, hints, name)
        parts = {
            part: _changed(getattr(value, part, None), hints[part], new, _joined(name, part))
            for part, new in change.items()
        }
        return _made(known, value, parts, name)
    if isinstance(value, dict) and isinstance(change, Mapping):
        return {**value, **change}
    try:
        return TypeAdapter(kind).validate_python(change)
    except ValidationError as error:
        words = "; ".join(dict.fromkeys(str(part["msg"]) for part in error.errors()))
        raise InvalidRecipe(f"{name} is {change!r}: {words}") from None


def _made(known: Any, value: Any, parts: dict[str, Any], name: str) -> Any:
    try:
        return known(**parts) if value is None else dataclasses.replace(value, **parts)
    # What a recipe's own checks, and a class without all of its fields, say.
    except (ValueError, TypeError) as error:
        raise InvalidRecipe(f"{name or 'the recipe'}: {error}") from None


def _dataclass_in(kind: Any) -> Any:
    """Return the dataclass of a field's type, which may allow None too."""
    for option in (kind, *get_args(kind)):
        if isinstance(option, type) and dataclasses.is_dataclass(option):
            return option
    return None


def _check_names(change: Mapping[str, Any], hints: Mapping[str, Any], name: str) -> None:
    for part in change:
        if part in hints:
            continue
        close = difflib.get_close_matches(str(part), hints, n=1)
        meant = f"did you mean {close[0]}? " if close else ""
        fields = ", ".join(hints)
        raise InvalidRecipe(f"{_joined(name, part)} is not a field; {meant}fields here: {fields}")


def _joined(name: str, part: object) -> str:
    return f"{name}.{part}" if name else str(part)
