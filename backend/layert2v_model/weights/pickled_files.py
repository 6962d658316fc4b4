"""Files that `torch.save` wrote, read without running any code from them, old ones too."""

import _codecs
import pickle
import re
import struct
from pathlib import Path
from typing import Any

import numpy as np
import torch

from layert2v_model.errors import InvalidCheckpoint
from layert2v_model.weights.file_heads import unreadable, what_it_is

_SCALAR = np.float64(0).__reduce__()[0]
"""The function that makes them, which has moved between versions of NumPy."""
_NUMBERS = [np.dtype(code) for code in ("f2", "f4", "f8", "i1", "i2", "i4", "i8", "u1", "u2", "?")]
_PLAIN_NUMBERS: list[Any] = [
    np.dtype,
    _codecs.encode,
    (_SCALAR, "numpy.core.multiarray.scalar"),
    (_SCALAR, "numpy._core.multiarray.scalar"),
    *(type(number) for number in _NUMBERS),
]
"""Functions that make single numbers of NumPy. None of them runs code of a file."""

_UNSAFE_NAME = re.compile(r"(?:GLOBAL|type) ([\w.]+)")

_DAMAGES = (
    *(RuntimeError, ValueError, KeyError, AttributeError, TypeError, IndexError, EOFError),
    *(struct.error, OverflowError, AssertionError, ImportError, MemoryError, RecursionError),
)
"""Errors that PyTorch raises at bytes that are cut or changed."""


def read_pickled(path: Path) -> Any:
    """Map a file of `torch.save`. One of before PyTorch 1.6 is read into memory instead.

    Single numbers of NumPy become Python's.

    Raises:
        InvalidCheckpoint: It is missing, cut, no such file, or holds what could run code.
    """
    if known := what_it_is(path):
        raise unreadable(path, known)
    try:
        with path.open("rb") as file:
            is_zip = file.read(2) == b"PK"
        with torch.serialization.safe_globals(_PLAIN_NUMBERS):
            content = torch.load(path, map_location="cpu", mmap=is_zip, weights_only=True)
    except pickle.UnpicklingError as error:
        raise _refusal(path, error) from None
    except OSError as error:
        raise unreadable(path, error) from None
    except _DAMAGES as error:
        if "TorchScript" in str(error):
            raise unreadable(path, "it is a TorchScript program, not tensors by name") from None
        raise unreadable(path, "it is cut short or damaged") from None
    return _with_plain_numbers(content)


def _refusal(path: Path, error: pickle.UnpicklingError) -> InvalidCheckpoint:
    found = _UNSAFE_NAME.search(str(error))
    if found is None or "." not in found[1]:
        return unreadable(path, "it is cut short or damaged")
    return InvalidCheckpoint(
        f"{path} holds {found[1][:80]}, which could run code when it is read, not only tensors "
        f"and plain numbers: save it again without that, or give the file that training wrote"
    )


def _with_plain_numbers(content: Any) -> Any:
    if isinstance(content, np.generic):
        return content.item()
    if type(content) is dict:
        return {name: _with_plain_numbers(value) for name, value in content.items()}
    if type(content) is list:
        return [_with_plain_numbers(value) for value in content]
    return content
