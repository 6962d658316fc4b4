"""Weights read mapped and written in shards, so that no model is ever in memory as a whole."""

import json
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

import safetensors.torch
from huggingface_hub import split_torch_state_dict_into_shards
from safetensors import SafetensorError
from torch import Tensor

from layert2v_model.errors import InvalidCheckpoint
from layert2v_model.weights.checks import fitted, names_in_short
from layert2v_model.weights.file_heads import unreadable, what_it_is

MAX_SHARD_BYTES = 2 * 2**30
"""Bytes of one file, whose tensors are in memory together while it is written."""


def read_safetensors(paths: Iterable[Path]) -> dict[str, Tensor]:
    """Map the tensors of several files as one state dict. The system reads them when used.

    Raises:
        InvalidCheckpoint: A file is missing or broken, or a tensor lies in two files.
    """
    state: dict[str, Tensor] = {}
    for path in paths:
        try:
            found = safetensors.torch.load_file(path)
        except (OSError, SafetensorError) as error:
            is_missing = isinstance(error, FileNotFoundError)
            raise unreadable(path, (not is_missing and what_it_is(path)) or error) from None
        twice = sorted(state.keys() & found.keys())
        if twice:
            raise InvalidCheckpoint(
                f"{path} holds {names_in_short(twice)} again; keep one set of weights in its folder"
            )
        state |= found
    return state


def read_json(path: Path) -> dict[str, Any]:
    """Read a JSON object.

    Raises:
        InvalidCheckpoint: It is missing, broken or something else.
    """
    try:
        content = json.loads(path.read_text(encoding="utf-8-sig"), object_pairs_hook=_once)
    except OSError as error:
        raise unreadable(path, error) from None
    except UnicodeDecodeError:
        raise unreadable(path, "it is not UTF-8; save it as UTF-8") from None
    except json.JSONDecodeError as error:
        raise unreadable(path, f"it is no JSON in line {error.lineno}") from None
    except RecursionError:
        raise unreadable(path, "it is nested too deeply") from None
    except _GivenTwice as error:
        raise unreadable(path, error) from None
    except ValueError:
        raise unreadable(path, "it holds a number of too many digits") from None
    if not isinstance(content, dict):
        raise unreadable(path, "it is not a JSON object")
    return content


class _GivenTwice(ValueError):
    pass


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """Refuse a key that is given twice: one of the two values would be lost."""
    found = dict(pairs)
    if len(found) < len(pairs):
        counts = Counter(name for name, _ in pairs)
        raise _GivenTwice(f"the key {counts.most_common(1)[0][0][:80]!r} is given twice")
    return found


def is_state_dict(content: object) -> bool:
    """Say whether something is tensors by name and nothing else."""
    return isinstance(content, dict) and all(
        isinstance(name, str) and isinstance(value, Tensor) for name, value in content.items()
    )


def write_weights(
    folder: Path,
    stem: str,
    planned: Mapping[str, Tensor],
    read: Callable[[str], Tensor],
    what: str,
    max_shard_bytes: int = MAX_SHARD_BYTES,
) -> None:
    """Write a state dict as the libraries do: one file, or shards with an index.

    Args:
        folder: Exists.
        stem: File name without `.safetensors`.
        planned: Shape and dtype of each tensor in the files. It may lie on `meta`.
        read: Function that gives a tensor by name, called once for each, when its shard is written.
        what: Name of the tensors' owner, for messages.
        max_shard_bytes: Most bytes of one file.

    Raises:
        InvalidCheckpoint: A tensor is not finite, or does not fit its planned type.
        OSError, SafetensorError: The disk is full or refuses.
    """
    plan = split_torch_state_dict_into_shards(
        dict(planned),
        filename_pattern=f"{stem}{{suffix}}.safetensors",
        max_shard_size=max_shard_bytes,
    )
    for name, tensors in plan.filename_to_tensors.items():
        shard = {
            tensor: fitted(tensor, read(tensor), planned[tensor].dtype, what).contiguous()
            for tensor in tensors
        }
        safetensors.torch.save_file(shard, folder / name, {"format": "pt"})
    if plan.is_sharded:
        index = {"metadata": plan.metadata, "weight_map": plan.tensor_to_filename}
        (folder / f"{stem}.safetensors.index.json").write_text(json.dumps(index, indent=2) + "\n")
