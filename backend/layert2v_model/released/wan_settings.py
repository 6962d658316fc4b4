"""Whether the sizes that a Wan folder's config says are those of any transformer."""

import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from layert2v_model.errors import InvalidCheckpoint

_COUNTS = (
    *("dim", "ffn_dim", "freq_dim", "in_dim", "out_dim", "text_dim", "num_heads", "num_layers"),
    *("num_attention_heads", "attention_head_dim", "in_channels", "out_channels"),
    "rope_max_seq_len",
)
"""Counts in the configs of both layouts."""
_MAX_LAYERS, _MAX_COUNT = 1000, 1 << 20
"""Far beyond any model (14B has 40 layers): more would only fill the memory."""


def check_settings(path: Path, config: Mapping[str, Any]) -> None:
    """Refuse a transformer's config whose numbers no transformer can have.

    Args:
        path: Path of the config, to name in a message.
        config: Config of the authors' layout or of diffusers'. What is left out is no error.

    Raises:
        InvalidCheckpoint: A count is none, heads do not share a width evenly, or the patch's size
            or eps is no number of its kind. The message names the first.
    """
    checks = {name: is_count(config[name]) for name in _COUNTS if name in config}
    if checks.get("num_layers"):
        checks["num_layers"] = config["num_layers"] <= _MAX_LAYERS
    if checks.get("dim") and checks.get("num_heads"):
        checks["num_heads"] = config["dim"] % (2 * config["num_heads"]) == 0
    if checks.get("attention_head_dim"):  # rotary positions take numbers in pairs
        checks["attention_head_dim"] = config["attention_head_dim"] % 2 == 0
    if "eps" in config:
        checks["eps"] = is_positive(config["eps"])
    if config.get("patch_size") is not None:
        checks["patch_size"] = _is_patch(config["patch_size"])
    wrong = next((name for name, is_right in checks.items() if not is_right), None)
    if wrong is not None:
        raise InvalidCheckpoint(f"{path} has no usable {wrong}; give the unchanged file")


def is_count(value: object) -> bool:
    """Tell whether a setting is a whole number from 1 to a limit that no model reaches."""
    is_whole = isinstance(value, int) and not isinstance(value, bool)
    return is_whole and 0 < value <= _MAX_COUNT  # type: ignore[operator]


def is_positive(value: object) -> bool:
    """Tell whether a setting is a finite number above 0."""
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    return is_number and math.isfinite(value) and value > 0  # type: ignore[arg-type, operator]


def _is_patch(value: object) -> bool:
    return isinstance(value, list | tuple) and len(value) == 3 and all(map(is_count, value))
