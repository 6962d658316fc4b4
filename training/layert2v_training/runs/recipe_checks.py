"""Checks before training that a recipe's fields agree, and that they suit its network.

The limits of single fields are their types (`number_kinds.py`), kept where values are read.
"""

import math
import typing
from collections.abc import Iterator
from typing import Any

import torch
from pydantic import TypeAdapter, ValidationError

from layert2v_model.network.transformer import LayerT2VTransformer3DModel
from layert2v_training.number_kinds import TOKEN_PIXELS
from layert2v_training.runs.overrides import InvalidRecipe
from layert2v_training.runs.recipes import Recipe
from layert2v_training.scenes.scene_recipe import MOTIONS, SceneRecipe
from layert2v_training.scenes.subjects import SUBJECTS
from layert2v_training.stages.joint import JointRecipe


def check_recipe(recipe: Recipe) -> None:
    """Refuse fields that contradict each other, and settings that the network does not take.

    Raises:
        InvalidRecipe: Names the fields, their values and the remedy.
    """
    check_network(recipe.transformer)
    for name in ("scene", "joint_scene"):
        _check_scene(name, getattr(recipe, name), recipe)
    _check_extra_shapes(recipe)
    if recipe.base == "none":
        _check_small_vae(recipe)
    low, high = recipe.decoders.levels
    if low > high:
        raise InvalidRecipe(f"decoders.levels go from {low} to {high}; write the smaller first")
    for name in ("joint", "multi_foreground"):
        _check_stage(name, getattr(recipe, name), recipe)


def check_network(settings: dict[str, Any]) -> None:
    """Refuse settings that `LayerT2VTransformer3DModel` does not take.

    Raises:
        InvalidRecipe: Names the setting, its value and what is taken.
    """
    hints = typing.get_type_hints(LayerT2VTransformer3DModel.__init__)
    for name, value in settings.items():
        if name not in hints or name == "return":
            raise InvalidRecipe(f"transformer.{name} is not a setting of the network; remove it")
        try:
            TypeAdapter(hints[name]).validate_python(value)
        except ValidationError as error:
            words = "; ".join(sorted({str(part["msg"]) for part in error.errors()}))
            raise InvalidRecipe(f"transformer.{name} is {value!r}: {words}") from None
        lowest = 0 if name == "cross_stream_window" else 1
        numbers = value if isinstance(value, list | tuple) else [value]
        if any(type(number) is int and number < lowest for number in numbers):
            raise InvalidRecipe(f"transformer.{name} is {value!r}; use {lowest} or more")
    try:
        with torch.device("meta"):
            LayerT2VTransformer3DModel(**{**settings, "num_layers": 0})
    # Its own words name the setting, the value and what is supported.
    except ValueError as error:
        raise InvalidRecipe(f"transformer: {error}") from None


def _check_scene(name: str, scene: SceneRecipe, recipe: Recipe) -> None:
    most = max_foregrounds(recipe)
    if max(scene.foregrounds) > most:
        fewer = [count for count in scene.foregrounds if count <= most] or [most]
        raise InvalidRecipe(
            f"{name}.foregrounds reach {max(scene.foregrounds)} and transformer.max_foregrounds is "
            f"{most}; raise it or set {name}.foregrounds={fewer}"
        )
    for side in ("width", "height"):
        length = getattr(scene, side)
        if length % token_pixels(recipe):
            raise InvalidRecipe(
                f"{name}.{side} is {length}; use multiples of {token_pixels(recipe)}, the pixels "
                f"of a token"
            )
    _check_length(f"{name}.num_frames", scene.num_frames, recipe)
    for field in ("subject_height", "subject_centre"):
        low, high = getattr(scene, field)
        if low > high:
            raise InvalidRecipe(f"{name}.{field} is {low} to {high}; write the smaller first")
    for motion in scene.motions:
        if motion not in MOTIONS:
            raise InvalidRecipe(f"{name}.motions has {motion!r}; use some of {', '.join(MOTIONS)}")
    for subject, weight in scene.subject_weights:
        if subject not in SUBJECTS.values() or weight <= 0:
            raise InvalidRecipe(
                f"{name}.subject_weights has {subject!r}: {weight:g}; name a subject of "
                f"layert2v_training.scenes.subjects and a weight above 0"
            )


def max_foregrounds(recipe: Recipe) -> int:
    """Return the most foregrounds that the recipe's network takes."""
    return int(recipe.transformer.get("max_foregrounds", 6))


def token_pixels(recipe: Recipe) -> int:
    """Return the side of a token in pixels. Widths and heights are multiples of it."""
    if recipe.base == "wan":
        return TOKEN_PIXELS
    patch = recipe.transformer.get("patch_size", (1, 2, 2))
    return recipe.vae_size.patch_size * math.lcm(*patch[1:])


def _check_extra_shapes(recipe: Recipe) -> None:
    for width, height in recipe.extra_sizes:
        multiple = token_pixels(recipe)
        if width % multiple or height % multiple:
            raise InvalidRecipe(f"extra_sizes has {width}x{height}; use multiples of {multiple}")
    for length in recipe.extra_num_frames:
        _check_length("extra_num_frames", length, recipe)


def _check_length(name: str, length: int, recipe: Recipe) -> None:
    if recipe.base == "wan" and (length - 1) % 4:
        raise InvalidRecipe(
            f"{name} is {length} and base is wan, whose frames are 4 k + 1; "
            f"use {length // 4 * 4 + 1}"
        )


def _check_small_vae(recipe: Recipe) -> None:
    """The small VAE makes 8x8 pixels a latent, of as many channels as the network takes."""
    size, channels = recipe.vae_size, 3 * recipe.vae_size.patch_size**2
    if size.z_dim > channels:
        raise InvalidRecipe(
            f"vae_size.z_dim is {size.z_dim} and vae_size.patch_size {size.patch_size} has "
            f"{channels} colours; use at most as many"
        )
    for name in ("encoder_dim", "decoder_dim"):
        width, least = getattr(size, name), 2 * size.z_dim + 1
        if width < least:
            raise InvalidRecipe(
                f"vae_size.{name} is {width} and vae_size.z_dim is {size.z_dim}; use {least} or "
                f"more, two for each and one"
            )
    for name in ("in_channels", "out_channels"):
        theirs = recipe.transformer.get(name, 16)
        if theirs != size.z_dim:
            raise InvalidRecipe(
                f"transformer.{name} is {theirs} and vae_size.z_dim is {size.z_dim}; set both alike"
            )


def _check_stage(name: str, stage: JointRecipe, recipe: Recipe) -> None:
    for problem in _conflicts(name, stage, recipe):
        raise InvalidRecipe(problem)


def _conflicts(name: str, stage: JointRecipe, recipe: Recipe) -> Iterator[str]:
    noise, lora, loop = stage.noise, stage.lora, stage.loop
    if noise.shift != recipe.sampling_shift:
        yield (
            f"{name}.noise.shift is {noise.shift} and sampling_shift is {recipe.sampling_shift}: "
            f"the model would be sampled at levels it was not trained at; set both alike"
        )
    if lora and loop.muon_scale:
        yield (
            f"{name}.lora and {name}.loop.muon_scale exclude each other: Muon is for whole "
            f"matrices; set {name}.loop.muon_scale=0"
        )
    if lora and lora.frozen == "bfloat16" and loop.autocast is None:
        yield (
            f"{name}.lora.frozen is bfloat16 and the stage computes in float32; set "
            f"{name}.lora.frozen=float32, or give --precision bfloat16, which is slow where the "
            f"hardware does not have it"
        )
    is_shared = not recipe.transformer.get("per_stream_timesteps", False)
    if is_shared and noise.synchronous < 1:
        yield (
            f"{name}.noise.synchronous is {noise.synchronous} and "
            f"transformer.per_stream_timesteps is false; set it to true"
        )
