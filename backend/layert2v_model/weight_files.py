"""Weights read mapped and written in shards, so that no model is ever in memory as a whole."""

import json
import pickle
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

import safetensors.torch
import torch
from huggingface_hub import split_torch_state_dict_into_shards
from safetensors import SafetensorError
from torch import Tensor

from layert2v_model.errors import InvalidCheckpoint, reason_of

MAX_SHARD_BYTES = 2 * 2**30
"""Of one file, whose tensors are merged and in memory together while it is written."""

_LISTED = 20
"""Names spelled out in a message before the rest is only counted."""


def read_safetensors(paths: Iterable[Path]) -> dict[str, Tensor]:
    """Map the tensors of several files as one state dict; the system reads them when used.

    Raises:
        InvalidCheckpoint: A file is missing or broken, or a tensor lies in two files.
    """
    state: dict[str, Tensor] = {}
    for path in paths:
        try:
            found = safetensors.torch.load_file(path)
        except (OSError, SafetensorError) as error:
            raise unreadable(path, error) from None
        twice = sorted(state.keys() & found.keys())
        if twice:
            raise InvalidCheckpoint(
                f"{path} holds {names_in_short(twice)} again; keep one set of weights in its folder"
            )
        state |= found
    return state


def read_pickled(path: Path) -> Any:
    """Map a file that `torch.save` wrote, without running any code from it.

    Raises:
        InvalidCheckpoint: It is missing, broken or of a form that could hold code.
    """
    try:
        return torch.load(path, map_location="cpu", mmap=True, weights_only=True)
    except (OSError, RuntimeError, ValueError, EOFError, pickle.UnpicklingError) as error:
        raise unreadable(path, error) from None


def read_json(path: Path) -> dict[str, Any]:
    """Read a JSON object.

    Raises:
        InvalidCheckpoint: It is missing, broken or something else.
    """
    try:
        content = json.loads(path.read_text())
    except (OSError, ValueError) as error:
        raise unreadable(path, error) from None
    if not isinstance(content, dict):
        raise unreadable(path, "it is not a JSON object")
    return content


def is_state_dict(content: object) -> bool:
    """Say whether something is tensors by name and nothing else."""
    return isinstance(content, dict) and all(
        isinstance(name, str) and isinstance(value, Tensor) for name, value in content.items()
    )


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
    """Compare names and shapes with those of a network; its tensors may lie on `meta`.

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


def unreadable(path: Path, reason: object) -> InvalidCheckpoint:
    """Make the refusal of a file."""
    words = " ".join(reason_of(reason, path).split())[:300]
    return InvalidCheckpoint(f"{path} cannot be read ({words}); fetch or copy it again")


def write_weights(
    folder: Path,
    stem: str,
    planned: Mapping[str, Tensor],
    read: Callable[[str], Tensor],
    max_shard_bytes: int = MAX_SHARD_BYTES,
) -> None:
    """Write a state dict as the libraries do: one file, or shards with an index.

    Args:
        folder: Exists.
        stem: File name without `.safetensors`.
        planned: Shape and dtype of each tensor in the files; may lie on `meta`.
        read: Gives a tensor by name, called once for each, when its shard is written.
        max_shard_bytes: Of one file.

    Raises:
        OSError, SafetensorError: The disk is full or refuses.
    """
    plan = split_torch_state_dict_into_shards(
        dict(planned),
        filename_pattern=f"{stem}{{suffix}}.safetensors",
        max_shard_size=max_shard_bytes,
    )
    for name, tensors in plan.filename_to_tensors.items():
        shard = {tensor: read(tensor).to(planned[tensor].dtype).contiguous() for tensor in tensors}
        safetensors.torch.save_file(shard, folder / name, {"format": "pt"})
    if plan.is_sharded:
        index = {"metadata": plan.metadata, "weight_map": plan.tensor_to_filename}
        (folder / f"{stem}.safetensors.index.json").write_text(json.dumps(index, indent=2) + "\n")
