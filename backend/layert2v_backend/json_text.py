"""Frozen values as JSON and back, for the journal and for the pipe to the worker."""

import json
from typing import Any, TypeVar

from pydantic import TypeAdapter

T = TypeVar("T")

_ADAPTERS: dict[Any, TypeAdapter[Any]] = {}


def _adapter(kind: Any) -> TypeAdapter[Any]:
    if kind not in _ADAPTERS:
        _ADAPTERS[kind] = TypeAdapter(kind)
    return _ADAPTERS[kind]


def to_json(value: object) -> str:
    """Write a dataclass, or a container of them, as one line of JSON. Infinity is `Infinity`."""
    return json.dumps(_adapter(type(value)).dump_python(value, mode="json"), ensure_ascii=False)


def from_json(kind: type[T], text: str | bytes) -> T:
    """Read a value that `to_json` wrote.

    Raises:
        pydantic.ValidationError: The text is not a value of this kind.
    """
    value: T = _adapter(kind).validate_json(text)
    return value
