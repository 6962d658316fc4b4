"""Checks of tensors before they become a model: names, shapes, kinds and values."""

from collections.abc import Iterable, Mapping

import torch
from torch import Tensor

from layert2v_model.errors import InvalidCheckpoint

_LISTED = 20
"""Names spelled out in a message before the rest is only counted."""

_PLAIN_TYPES = frozenset({torch.float16, torch.bfloat16, torch.float32, torch.float64})

_QUANTIZED_ENDS = {
    "scaled_fp8": "scaled 8-bit weights of ComfyUI",
    ".scale_weight": "scaled 8-bit weights of ComfyUI",
    ".weight_scale": "scaled 8-bit weights",
    ".absmax": "4-bit or 8-bit weights of bitsandbytes",
    ".SCB": "8-bit weights of bitsandbytes",
    ".qweight": "GPTQ's or AWQ's weights",
}
"""Ends of names that only quantized files have, and what such files hold."""


def check_names(found: Iterable[str], expected: Iterable[str], what: str) -> None:
    """Compare names.

    Raises:
        InvalidCheckpoint: Some are missing or unexpected; lists them.
    """
    found_names, expected_names = set(found), set(expected)
    _refuse(
        {
            "missing": sorted(expected_names - found_names),
            "unexpected": sorted(found_names - expected_names),
        },
        what,
    )


def check_weights(found: Mapping[str, Tensor], expected: Mapping[str, Tensor], what: str) -> None:
    """Compare names and shapes with those of a network. Its tensors may lie on `meta`.

    Raises:
        InvalidCheckpoint: Something is missing, unexpected or of another shape; lists it all.
    """
    resized = [
        f"{name} {tuple(value.shape)} instead of {tuple(expected[name].shape)}"
        for name, value in sorted(found.items())
        if name in expected and value.shape != expected[name].shape
    ]
    _refuse(
        {
            "missing": sorted(expected.keys() - found.keys()),
            "unexpected": sorted(found.keys() - expected.keys()),
            "of another shape": resized,
        },
        what,
    )


def check_kinds(state: Mapping[str, Tensor], what: str) -> None:
    """Refuse quantized weights. Nothing but names and types is looked at.

    Raises:
        InvalidCheckpoint: Some tensor is no floating-point number of 16 bits or more.
    """
    for name, value in state.items():
        for end, kind in _QUANTIZED_ENDS.items():
            if name.endswith(end):
                raise _quantized(what, kind, name)
        if value.dtype not in _PLAIN_TYPES:
            kind = str(value.dtype).removeprefix("torch.")
            bits = 8 * value.dtype.itemsize
            raise _quantized(what, f"{bits}-bit weights ({kind})", name)


def _quantized(what: str, kind: str, name: str) -> InvalidCheckpoint:
    return InvalidCheckpoint(
        f"{what} has {kind}, as at {name}: an adapter is not exact on rounded weights; give the "
        f"same model in bfloat16, float16 or float32"
    )


def check_finite(state: Mapping[str, Tensor], what: str) -> None:
    """Look at every value.

    Raises:
        InvalidCheckpoint: A tensor holds NaN or infinity. The message names the first.
    """
    for name, value in state.items():
        if not is_finite(value):
            raise InvalidCheckpoint(
                f"{what} holds NaN or infinity in {name}, so the training that wrote it diverged "
                f"or the file is damaged; give an earlier checkpoint, or fetch it again"
            )


def is_finite(value: Tensor) -> bool:
    """Whether no value is NaN or infinite."""
    return bool(torch.isfinite(value).all())


def fitted(name: str, value: Tensor, dtype: torch.dtype, what: str) -> Tensor:
    """Give a tensor in another type.

    Raises:
        InvalidCheckpoint: A value is beyond the type's largest.
    """
    check_finite({name: value}, what)
    converted = value.to(dtype)
    if not is_finite(converted):
        largest, limit = float(value.abs().max()), torch.finfo(dtype).max
        kind = str(dtype).removeprefix("torch.")
        raise InvalidCheckpoint(
            f"{what} does not fit {kind}: {name} reaches {largest:.4g}, {kind} ends at "
            f"{limit:.4g}; use --dtype bfloat16 or float32"
        )
    return converted


def _refuse(problems: Mapping[str, list[str]], what: str) -> None:
    parts = [f"{len(n)} {kind}: {names_in_short(n)}" for kind, n in problems.items() if n]
    if parts:
        raise InvalidCheckpoint(
            f"the tensors of {what} are not those of the released model ({'; '.join(parts)}); "
            f"give the whole, unchanged file"
        )


def names_in_short(names: list[str]) -> str:
    """Join names for a message, the first twenty of them."""
    rest = len(names) - _LISTED
    return ", ".join(names[:_LISTED]) + (f" and {rest} more" if rest > 0 else "")
