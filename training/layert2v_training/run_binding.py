"""Binds the folder of a stage's run to what decides it: recipe, base, init, data, stage before.

`run.json` beside the checkpoint holds these values by name and their digest. A run is gone on with
by the same values only, or by those that the user says are to change.
"""

import hashlib
import json
import logging
from collections.abc import Iterator, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch

from layert2v_model.durable import publish_file
from layert2v_model.errors import reason_of
from layert2v_training.checkpoint import CHECKPOINT
from layert2v_training.recipes import Recipe

log = logging.getLogger(__name__)

BINDING = "run.json"

Values = dict[str, Any]
"""What decides a run: names of fields joined by dots, or of options, and their values in JSON."""

_CLIPS = ("base", "transformer", "joint_scene", "num_clips", "extra_sizes", "extra_num_frames")
PARTS = {
    "run-vae": ("scene", "vae", "vae_clips", "vae_batch_size", "vae_size"),
    "run-alpha-vae": ("base", "scene", "alpha_vae"),
    "run-joint": ("joint", *_CLIPS),
    "run-multi-foreground": ("multi_foreground", *_CLIPS),
    "run-decoder": ("decoders", "transformer", "joint_scene"),
    "run-alpha-decoder": ("decoders", "transformer", "joint_scene"),
}
"""Fields of the recipe that decide the run of a folder."""

_HARMLESS = (".checkpoint_seconds", ".sheet_every")
"""Ends of the names of fields that decide nothing of what is learned."""

_EDGE_BYTES = 1 << 20


class RunDiffers(ValueError):
    """Raised when a folder's run was begun with other values; names them and the remedy."""


def bind(folder: Path, values: Values, *, accepts_changes: bool = False) -> None:
    """Write what decides a run beside its checkpoint, or compare with what was written.

    More steps are always fine. Where there is no checkpoint yet, new values replace the old.

    Args:
        folder: Of the run; made if need be.
        values: As `values_of` gives them.
        accepts_changes: Go on with other values, where parameters and optimizers stay the same.

    Raises:
        RunDiffers: Names each value that differs, as it was and as it is.
    """
    values = json.loads(json.dumps(values))
    path = folder / BINDING
    if (folder / CHECKPOINT).is_file():
        if path.is_file():
            _compare(folder, read_values(path), values, accepts_changes=accepts_changes)
        else:
            log.warning("%s does not say what it was begun with; taken as these values", folder)
    folder.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(f"{path.name}.part")
    content = {"digest": short_digest(json.dumps(values, sort_keys=True)), "values": values}
    partial.write_text(json.dumps(content, indent=1, sort_keys=True) + "\n")
    publish_file(partial, path)


def check_network_of(folder: Path, recipe: Recipe) -> None:
    """Compare the settings of the network with those that a run's parameters were trained in.

    Raises:
        RunDiffers: Names each that differs.
    """
    path = folder / BINDING
    if not path.is_file():
        return
    stored = {n: v for n, v in read_values(path).items() if n.startswith("transformer.")}
    own = json.loads(json.dumps(dict(_named("transformer", recipe.transformer))))
    _compare(folder, stored, own, accepts_changes=False)


def values_of(
    name: str,
    recipe: Recipe,
    *,
    base: Path | None = None,
    init: Path | None = None,
    data: str | None = None,
    before: Path | None = None,
    counts: Mapping[str, int] | None = None,
) -> Values:
    """Collect what decides a run.

    Args:
        name: Of its folder, a key of `PARTS`.
        recipe: Of the run.
        base: Wan's folder.
        init: Model folder it goes on from.
        data: Names the user's clips and changes with them; None: composed scenes.
        before: Checkpoint of the stage it goes on from.
        counts: Fields of the recipe in whose place the user's clips are counted.
    """
    values: Values = {}
    for part in PARTS[name]:
        value = getattr(recipe, part)
        plain = asdict(value) if hasattr(value, "__dataclass_fields__") else value
        values |= dict(_named(part, plain))
    if name == "run-joint":
        # Stage 2 has one foreground whatever the recipe says.
        del values["joint_scene.foregrounds"]
    values |= counts or {}
    values = {key: value for key, value in values.items() if not key.endswith(_HARMLESS)}
    values["--base"], values["--init"] = (
        folder and f"{folder.name} ({folder_key(folder)})" for folder in (base, init)
    )
    values["--data"] = data
    values["stage before"] = before and f"{before.parent.name} ({averages_key(before)})"
    return values


def _named(name: str, value: Any) -> Iterator[tuple[str, Any]]:
    if isinstance(value, Mapping) and value:
        for part, inner in value.items():
            yield from _named(f"{name}.{part}", inner)
    else:
        yield name, value


def folder_key(folder: Path) -> str:
    """Tell a model folder's content by names, sizes, beginnings and ends of its files."""
    digest = hashlib.sha256()
    for path in sorted(path for path in folder.rglob("*") if path.is_file()):
        size = path.stat().st_size
        digest.update(f"{path.relative_to(folder)} {size}\n".encode())
        with path.open("rb") as file:
            digest.update(file.read(_EDGE_BYTES))
            file.seek(max(0, size - _EDGE_BYTES))
            digest.update(file.read(_EDGE_BYTES))
    return digest.hexdigest()[:12]


def averages_key(checkpoint: Path) -> str:
    """Tell what a stage learned by the averages in its checkpoint."""
    averages = torch.load(checkpoint, weights_only=True, map_location="cpu", mmap=True)["ema"]
    digest = hashlib.sha256()
    for name, value in sorted(averages.items()):
        digest.update(name.encode())
        digest.update(value.flatten().view(torch.uint8).numpy())
    return digest.hexdigest()[:12]


def short_digest(text: str) -> str:
    """Shorten a text to what tells it from others."""
    return hashlib.sha256(text.encode()).hexdigest()[:12]


def read_values(path: Path) -> Values:
    """Read what a run is bound to.

    Raises:
        RunDiffers: The file cannot be read.
    """
    try:
        values = json.loads(path.read_text())["values"]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise RunDiffers(
            f"{path} cannot be read ({reason_of(error, path)}); remove it to go on with the values "
            f"of this command"
        ) from None
    assert isinstance(values, dict)
    return values


def _compare(folder: Path, stored: Values, values: Values, *, accepts_changes: bool) -> None:
    changed = [
        name
        for name in sorted(stored.keys() | values.keys())
        if stored.get(name) != values.get(name) and not _is_longer(name, stored, values)
    ]
    if not changed or (accepts_changes and not any(map(_is_fixed, changed))):
        return
    said = "; ".join(
        f"{name} was {json.dumps(stored.get(name))} and is {json.dumps(values.get(name))}"
        for name in changed
    )
    remedy = "choose another --out"
    if "stage before" in changed:
        remedy += f", or remove {folder} to learn again after the new stage"
    for before in {stored.get(name, "auto") for name in changed if name.endswith(".autocast")}:
        if before != "auto":
            remedy += f", or compute as before by --precision {before or 'float32'}"
    if not any(map(_is_fixed, changed)):
        remedy += ", or go on with the new values by --accept-changes"
    raise RunDiffers(f"{folder} holds a run with other values: {said}; {remedy}")


def _is_longer(name: str, stored: Values, values: Values) -> bool:
    before, after = stored.get(name), values.get(name)
    if not (isinstance(before, int) and isinstance(after, int)):
        return False
    return name.endswith(".num_steps") and before <= after


def _is_fixed(name: str) -> bool:
    """Whether a value decides which parameters and optimizers there are, or undoes steps."""
    ends = (".muon_scale", ".num_steps", ".lora", ".lora.rank", ".rank", ".hidden_channels")
    return name.startswith(("transformer.", "vae_size.", "base")) or name.endswith(ends)
