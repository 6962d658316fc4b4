"""A stage's run bound to the values that decide it: recipe, base, init, data, stage before.

`run.json` beside the checkpoint holds these values by name, their digest, and in which precisions
the run has computed. A run goes on with the same values only, or with changes that the user has
accepted.
"""

import hashlib
import json
import logging
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict
from functools import reduce
from pathlib import Path
from typing import Any

import torch

from layert2v_model.errors import reason_of
from layert2v_model.files.durable import publish_file
from layert2v_training.learning.checkpoint import CHECKPOINT
from layert2v_training.runs.recipes import Recipe

log = logging.getLogger(__name__)

BINDING = "run.json"

Values = dict[str, Any]
"""Values that decide a run, in JSON, by names of fields joined by dots, or of options."""

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

_EXPORTED = (
    "base", "transformer", "joint_scene.width", "joint_scene.height", "joint_scene.num_frames",
    "extra_sizes", "extra_num_frames",
)  # fmt: skip
"""Fields that the exported folder depends on, beside the adapters of the stage."""

_HARMLESS = (".checkpoint_seconds", ".sheet_every")
"""Ends of the names of fields that decide nothing of what is learned."""

_EDGE_BYTES = 1 << 20


class RunDiffers(ValueError):
    """Raised when a folder's run was begun with other values. It names them and the remedy."""


def bind(folder: Path, values: Values, *, accepts_changes: bool = False) -> None:
    """Write what decides a run beside its checkpoint, or compare with what was written.

    More steps are always fine. Where there is no checkpoint yet, new values replace the old.

    Args:
        folder: Folder of the run. It is made if need be.
        values: As `values_of` gives them.
        accepts_changes: Go on with other values, where parameters and optimizers stay the same.

    Raises:
        RunDiffers: Names each value that differs, as it was and as it is.
    """
    values = json.loads(json.dumps(values))
    path, precisions = folder / BINDING, list[str]()
    if (folder / CHECKPOINT).is_file():
        if path.is_file():
            _compare(folder, read_values(path), values, accepts_changes=accepts_changes)
            precisions = precisions_of(folder)
        else:
            log.warning("%s does not record its first values; it goes on with these", folder)
    precisions += [each for each in _precisions_in(values) if each not in precisions[-1:]]
    folder.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(f"{path.name}.part")
    content = {
        "digest": short_digest(json.dumps(values, sort_keys=True)),
        "precision": precisions,
        "values": values,
    }
    partial.write_text(json.dumps(content, indent=1, sort_keys=True) + "\n")
    publish_file(partial, path)


def precisions_of(folder: Path) -> list[str]:
    """List in which precisions a run has computed, the first first; none where it does not say.

    Raises:
        RunDiffers: Its `run.json` cannot be read.
    """
    path = folder / BINDING
    if not path.is_file():
        return []
    values, said = read_values(path), json.loads(path.read_text()).get("precision")
    return said if isinstance(said, list) else _precisions_in(values)


def _precisions_in(values: Values) -> list[str]:
    """Read the precision off a run's values: `autocast` is null for float32."""
    found = {value or "float32" for name, value in values.items() if name.endswith(".autocast")}
    return sorted(found - {"auto"})


def check_export(
    folder: Path,
    name: str,
    recipe: Recipe,
    *,
    base: Path | None = None,
    init: Path | None = None,
) -> None:
    """Compare what an export depends on with what a run was begun with.

    Args:
        folder: Folder of the run.
        name: Name of its folder, a key of `PARTS`.
        recipe: As the export is told it.
        base: Wan's folder.
        init: Model folder that adapters are put on.

    Raises:
        RunDiffers: Names each field or option that differs, as it was and as it is.
    """
    path = folder / BINDING
    if not path.is_file():
        return
    stage, own = PARTS[name][0], dict[str, Any]()
    for field in (*_EXPORTED, f"{stage}.lora"):
        value = reduce(getattr, field.split("."), recipe)
        own |= dict(_named(field, _plain(value)))
    if getattr(recipe, stage).lora is not None:
        own |= {"--base": _told(base), "--init": _told(init)}
    own = json.loads(json.dumps(own))
    within = tuple(f"{part}." for part in (*_EXPORTED, f"{stage}.lora", *own))
    stored = {key: x for key, x in read_values(path).items() if f"{key}.".startswith(within)}
    changed = _changed(stored, own)
    if changed:
        remedy = "give export the --recipe, --recipe-file, --set, --base and --init of the run"
        raise RunDiffers(_difference(folder, stored, own, changed) + remedy)


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
        name: Name of its folder, a key of `PARTS`.
        recipe: Recipe of the run.
        base: Wan's folder.
        init: Model folder it goes on from.
        data: Names the user's clips and changes with them; None: composed scenes.
        before: Checkpoint of the stage it goes on from.
        counts: Fields of the recipe in whose place the user's clips are counted.
    """
    values: Values = {}
    for part in PARTS[name]:
        values |= dict(_named(part, _plain(getattr(recipe, part))))
    if name == "run-joint":
        # Stage 2 has one foreground whatever the recipe says.
        del values["joint_scene.foregrounds"]
    values |= counts or {}
    values = {key: value for key, value in values.items() if not key.endswith(_HARMLESS)}
    values["--base"], values["--init"] = _told(base), _told(init)
    values["--data"] = data
    values["stage before"] = before and f"{before.parent.name} ({averages_key(before)})"
    return values


def _plain(value: Any) -> Any:
    return asdict(value) if hasattr(value, "__dataclass_fields__") else value


def _told(folder: Path | None) -> str | None:
    return f"{folder.name} ({folder_key(folder)})" if folder else None


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
    changed = [name for name in _changed(stored, values) if not _is_longer(name, stored, values)]
    if not changed or (accepts_changes and not any(map(_is_fixed, changed))):
        return
    remedy = "choose another --out"
    if "stage before" in changed:
        remedy += f", or remove {folder} to learn again after the new stage"
    for before in {stored.get(name, "auto") for name in changed if name.endswith(".autocast")}:
        if before != "auto":
            remedy += f", or compute as before by --precision {before or 'float32'}"
    if not any(map(_is_fixed, changed)):
        remedy += ", or go on with the new values by --accept-changes"
    raise RunDiffers(_difference(folder, stored, values, changed) + remedy)


def _changed(stored: Values, values: Values) -> list[str]:
    names = sorted(stored.keys() | values.keys())
    return [name for name in names if stored.get(name) != values.get(name)]


def _difference(folder: Path, stored: Values, values: Values, changed: Sequence[str]) -> str:
    said = "; ".join(
        f"{name} was {json.dumps(stored.get(name))} and is {json.dumps(values.get(name))}"
        for name in changed
    )
    return f"{folder} holds a run with other values: {said}; "


def _is_longer(name: str, stored: Values, values: Values) -> bool:
    before, after = stored.get(name), values.get(name)
    if not (isinstance(before, int) and isinstance(after, int)):
        return False
    return name.endswith(".num_steps") and before <= after


def _is_fixed(name: str) -> bool:
    """Whether a value decides which parameters and optimizers there are, or undoes steps."""
    ends = (".muon_scale", ".num_steps", ".lora", ".lora.rank", ".rank", ".hidden_channels")
    return name.startswith(("transformer.", "vae_size.", "base")) or name.endswith(ends)
