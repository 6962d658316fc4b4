# SPDX-License-Identifier: GPL-3.0-or-later
"""Provenance of a strip's media in `strip["layert2v"]`. A split copies it, so it is no id."""

from dataclasses import asdict, dataclass, fields
from typing import Any

from layert2v_client import ArtifactKind

from ..core.takes import SCHEMA, Take

KEY = "layert2v"
_LARGEST_INT = 2**31 - 1


@dataclass(frozen=True)
class Provenance:
    """The layer that a strip shows, and how it was generated."""

    shot: str
    """Id of the shot, which all takes share."""
    job: str
    """Name of the job that made the take, `jobs/{job}`."""
    take: int
    """Number of the take, from 1."""
    layer: int
    """Place of the layer in the stack. 0 is the background, -1 the full video."""
    role: str
    """Role of the strip: `background`, `foreground`, `matte` or `full`."""
    prompt: str
    """Prompt of the layer."""
    seed: int
    """Seed of the layer."""
    model: str
    """Id of the model that made the layer."""
    path: str
    """Folder of the take, relative to the .blend if possible."""
    format: str
    """Format of the files, `png` or `exr`."""
    notice: str = ""
    """Sentences of `Take.notice` on the layer. Empty on strips of earlier versions."""
    rate: str = ""
    """Frames per second of the scene for which the strip was laid out, such as `24000/1001`."""


def write(strip: Any, provenance: Provenance) -> None:
    """Store a strip's provenance on it."""
    values = {"schema": SCHEMA, **asdict(provenance)}
    if provenance.seed > _LARGEST_INT:  # Blender's integers have 32 bits.
        values["seed"] = str(provenance.seed)
    strip[KEY] = values


def read_or_none(strip: Any) -> Provenance | None:
    """Read a strip's provenance. Give None if it has none that this version knows."""
    stored: Any = strip.get(KEY) if strip is not None else None
    if not hasattr(stored, "items") or stored.get("schema") != SCHEMA:
        return None
    values = {**dict(stored.items()), "seed": _whole_or_none(stored.get("seed"))}
    said = {
        field.name: values[field.name]
        for field in fields(Provenance)
        if isinstance(values.get(field.name), field.type)  # type: ignore[arg-type]
    }
    is_whole = all(field.name in said or field.default == "" for field in fields(Provenance))
    return Provenance(**said) if is_whole else None


def _whole_or_none(value: Any) -> int | None:
    try:
        return int(value)
    except (TypeError, ValueError):
        return None


def of_take(
    take: Take, kind: ArtifactKind, layer: int, path: str, file_format: str, shot: str, rate: str
) -> Provenance:
    """Describe one layer of a take in a shot. A copy of a shot has its own id."""
    spec = take.made.layers[layer] if layer >= 0 else None
    seed = take.made.seed if spec is None or spec.seed is None else spec.seed
    return Provenance(
        shot=shot,
        job=take.job,
        take=take.number,
        layer=layer,
        role=str(kind),
        prompt=spec.prompt if spec else take.made.prompt,
        seed=seed,
        model=take.made.model,
        path=path,
        format=file_format,
        notice=take.notice(layer),
        rate=rate,
    )
