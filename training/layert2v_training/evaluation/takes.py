"""Takes kept on disk, so that a stopped run goes on and figures can be taken again."""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor

from layert2v_model.errors import reason_of
from layert2v_model.files.durable import publish_file
from layert2v_model.shot import ShotPrompts
from layert2v_model.stack import Layer, Role, Stack
from layert2v_training.evaluation.prompts import BadInput

_PARTS = ("rgb_TCHW", "alpha_T1HW", "light_T2")


def take_key(prompts: ShotPrompts, given: Mapping[str, Tensor] | None, **asked: Any) -> str:
    """Name a take by all that it follows from: hexadecimal, 16 digits.

    Args:
        prompts: The shot's words.
        given: Whole streams, by name. Their pixels count.
        asked: Whatever else decides about it, as JSON can hold it: model, seed, size, steps.
    """
    pixels = {
        name: [
            list(frames.shape),
            hashlib.sha256(frames.contiguous().numpy().tobytes()).hexdigest(),
        ]
        for name, frames in sorted((given or {}).items())
    }
    said = json.dumps([asdict(prompts), pixels, asked], sort_keys=True)
    return hashlib.sha256(said.encode()).hexdigest()[:16]


class TakeStore:
    """A folder of takes by key, float32 as made, about 5 MB for nine frames of 160x96."""

    def __init__(self, folder: Path) -> None:
        """Keep takes in `folder`, which is made if need be.

        Raises:
            BadInput: It cannot be made.
        """
        self._folder = folder
        try:
            folder.mkdir(parents=True, exist_ok=True)
        except OSError as failure:
            raise _unwritable(folder, failure) from failure

    def load(self, key: str) -> Stack | None:
        """Give the take of this key, or None where there is none or its file is damaged."""
        path = self._path(key)
        try:
            parts = load_file(path)
        except (FileNotFoundError, SafetensorError):
            return None
        count = sum(name.endswith(_PARTS[0]) for name in parts)
        layers = [
            Layer(
                Role.FOREGROUND if index else Role.BACKGROUND,
                parts[f"{index}.rgb_TCHW"],
                parts[f"{index}.alpha_T1HW"],
                parts.get(f"{index}.light_T2"),
            )
            for index in range(count)
        ]
        return Stack(tuple(layers), parts["full_TCHW"])

    def save(self, key: str, take: Stack) -> None:
        """Keep a take, whole or not at all.

        Raises:
            BadInput: The disk does not take it.
        """
        parts = {"full_TCHW": take.full_TCHW.contiguous()}
        for index, layer in enumerate(take.layers):
            tensors = {part: getattr(layer, part) for part in _PARTS}
            parts |= {
                f"{index}.{part}": tensor.contiguous().clone()
                for part, tensor in tensors.items()
                if tensor is not None
            }
        path = self._path(key)
        unfinished = path.with_suffix(".part")
        try:
            save_file(parts, unfinished)
            publish_file(unfinished, path)
        except (OSError, SafetensorError) as failure:
            unfinished.unlink(missing_ok=True)
            raise _unwritable(self._folder, failure) from failure

    def _path(self, key: str) -> Path:
        return self._folder / f"{key}.safetensors"


def _unwritable(folder: Path, failure: Exception) -> BadInput:
    return BadInput(
        f"{folder} cannot hold takes ({reason_of(failure, folder)}); free space there or choose "
        f"another folder with --takes"
    )
