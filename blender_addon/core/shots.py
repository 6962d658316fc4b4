# SPDX-License-Identifier: GPL-3.0-or-later
"""Checks of shots before they are sent, derivation for regeneration, and JSON."""

import random
from collections.abc import Mapping
from dataclasses import asdict, fields, replace
from typing import Any

from layert2v_client import KeptLayer, LayerRole, LayerSpec, Model, Shot
from layert2v_domain.shot import MAX_SEED

NUM_RANDOM_SEEDS = 2**31
"""Limit below which random seeds are drawn, so that they are short enough to write down."""


class ShotProblem(Exception):
    """Raised when a shot cannot be generated as asked. Names the value, limit and remedy."""


def check_shot(shot: Shot, model: Model | None) -> None:
    """Check a shot without the backend. `model` is None while its limits are not known.

    Raises:
        ShotProblem: The shot breaks a rule. The first broken rule is reported.
    """
    num_foregrounds = len(shot.layers) - 1
    if num_foregrounds < 1:
        raise ShotProblem("The shot has no foreground. Add at least one.")
    for index, layer in enumerate(shot.layers):
        if layer.kept is None and not layer.prompt.strip():
            raise ShotProblem(
                f"The prompt of {layer_name(index)} is empty. Describe what the layer shows."
            )
    if not 0 <= shot.seed <= MAX_SEED:
        raise ShotProblem(f"The seed {shot.seed} is not in 0 to {MAX_SEED}. Choose another.")
    if model is not None:
        _check_limits(shot, model)


def _check_limits(shot: Shot, model: Model) -> None:
    num_foregrounds = len(shot.layers) - 1
    if num_foregrounds > model.max_foregrounds:
        raise ShotProblem(
            f"The shot has {num_foregrounds} foregrounds, but the model '{model.id}' generates at "
            f"most {model.max_foregrounds}. Remove some."
        )
    prompts = [(layer_name(i), layer.prompt) for i, layer in enumerate(shot.layers)]
    for name, prompt in [("the full picture", shot.prompt), *prompts]:
        if len(prompt) > model.max_prompt_chars:
            raise ShotProblem(
                f"The prompt of {name} has {len(prompt)} characters, but the model '{model.id}' "
                f"reads {model.max_prompt_chars}. Shorten it."
            )
    if shot.width and (shot.width, shot.height) not in model.sizes:
        sizes = ", ".join(f"{width} x {height}" for width, height in model.sizes)
        raise ShotProblem(
            f"The model '{model.id}' does not generate {shot.width} x {shot.height}. "
            f"Choose {sizes}."
        )
    if shot.num_frames and shot.num_frames not in model.num_frames:
        lengths = ", ".join(map(str, model.num_frames))
        raise ShotProblem(
            f"The model '{model.id}' does not generate {shot.num_frames} frames. Choose {lengths}."
        )


def draw_seed() -> int:
    """Draw a random seed from 0 to below `NUM_RANDOM_SEEDS`."""
    return random.randrange(NUM_RANDOM_SEEDS)


def parse_seed(text: str) -> int:
    """Read a seed that the artist wrote. For an empty text, draw a new one.

    Raises:
        ShotProblem: It is no whole number from 0 to `MAX_SEED`.
    """
    text = text.strip()
    if not text:
        return draw_seed()
    problem = seed_problem(text)
    if problem:
        raise ShotProblem(problem)
    return int(text)


def seed_problem(text: str) -> str:
    """Say in a sentence why a text is no seed. Empty for a seed and for an empty text."""
    text = text.strip()
    is_number = text.isascii() and text.isdecimal() and len(text) <= len(str(MAX_SEED))
    if not text or (is_number and int(text) <= MAX_SEED):
        return ""
    return (
        f"The seed '{text[:80]}' is no whole number from 0 to {MAX_SEED}. Write one, or leave "
        "it empty."
    )


def layer_name(layer_index: int) -> str:
    """Name a layer for people: `background`, `foreground 1`, or `full` for -1."""
    if layer_index < 0:
        return "full"
    return f"foreground {layer_index}" if layer_index else "background"


def new_shot(background: str, foregrounds: tuple[str, ...], **others: Any) -> Shot:
    """Build a shot from prompts, back to front. `others` are fields of `Shot`."""
    layers = [LayerSpec(LayerRole.BACKGROUND, background)]
    layers += [LayerSpec(LayerRole.FOREGROUND, prompt) for prompt in foregrounds]
    return Shot(layers=tuple(layers), **others)


def regenerated(
    asked: Shot,
    layer_index: int,
    kept_jobs: Mapping[int, str],
    *,
    prompt: str,
    seed: int,
    full_prompt: str,
) -> Shot:
    """Derive the shot that regenerates one layer and keeps the others bit for bit.

    Args:
        asked: The shot as it was first asked for.
        layer_index: The layer to regenerate.
        kept_jobs: For every other layer, the job whose take shows it now.
        prompt: New prompt of the layer. Empty keeps the current one.
        seed: Seed of the layer and of the shot.
        full_prompt: New prompt of the full picture. Empty keeps the current one, but if the layer's
            prompt changes, the layers' prompts are combined, because the old text names the old
            layer.
    """
    layers = []
    for index, layer in enumerate(asked.layers):
        if index == layer_index:
            layers.append(replace(layer, prompt=prompt or layer.prompt, seed=seed, kept=None))
        else:
            layers.append(replace(layer, kept=KeptLayer(kept_jobs[index], index)))
    is_new_prompt = bool(prompt) and prompt != asked.layers[layer_index].prompt
    unchanged = "" if is_new_prompt else asked.prompt
    return replace(asked, layers=tuple(layers), prompt=full_prompt or unchanged, seed=seed)


def shot_to_json(shot: Shot) -> dict[str, Any]:
    """Write a shot as plain JSON values."""
    return asdict(shot)


def known_values(kind: type, values: Any) -> dict[str, Any]:
    """Pick the known fields of a dataclass. Fields of newer versions are ignored.

    Raises:
        TypeError: `values` has no fields.
    """
    if not isinstance(values, Mapping):
        raise TypeError(f"{values!r:.40} instead of the fields of a {kind.__name__}")
    said = {field.name: values.get(field.name) for field in fields(kind)}
    return {name: value for name, value in said.items() if value is not None}


def shot_from_json(values: Mapping[str, Any]) -> Shot:
    """Read a shot that `shot_to_json` wrote, in this version or a newer one.

    Raises:
        KeyError: It has no layers.
        TypeError: A field is missing that has no default.
        ValueError: A layer's role is not known.
    """
    known = known_values(Shot, values)
    return Shot(**{**known, "layers": tuple(map(_layer_from_json, known["layers"]))})


def _layer_from_json(values: Mapping[str, Any]) -> LayerSpec:
    known = known_values(LayerSpec, values)
    if "kept" in known:
        known["kept"] = KeptLayer(**known_values(KeptLayer, known["kept"]))
    return LayerSpec(**{**known, "role": LayerRole(known["role"])})
