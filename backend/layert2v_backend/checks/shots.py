"""Checks a shot against its model and fills in every default."""

import math
import unicodedata
from collections.abc import Mapping, Sequence
from dataclasses import replace

from layert2v_backend.checks.findings import Findings
from layert2v_backend.checks.kept_layers import Size, fill_kept_layer
from layert2v_backend.errors import FieldViolation, ModelDamaged, UnknownModel
from layert2v_backend.jobs import Job
from layert2v_backend.models import Catalogue, Limits, Model
from layert2v_domain.shot import MAX_SEED, LayerRole, LayerSpec, Shot

MAX_STEPS = 200
MAX_GUIDANCE = 20.0

_BIDIRECTIONAL = frozenset("\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069")
"""Invisible characters that make a text look different from its content. Source: Unicode TR 36, "
"2.10."""


def fill_shot(asked: Shot, catalogue: Catalogue, sources: Mapping[str, Job]) -> Shot:
    """Check a shot and fill in every default.

    Args:
        asked: The shot as it was sent.
        catalogue: The models of this backend.
        sources: The jobs of `kept_job_ids` that exist, by id.

    Raises:
        InvalidShot: The model cannot make the shot. Every wrong field is listed.
        UnknownModel: Only the model is wrong.
        UnknownJob: Only a kept layer's job is wrong.
        KeptJobNotSucceeded: A kept layer's job has no take.
        ModelDamaged: The model's description cannot be read.
    """
    found = Findings()
    limits = _model(asked.model, catalogue).limits
    width, height = _size(asked, limits, found)
    num_frames = _num_frames(asked.num_frames, limits, found)
    _check_seed(asked.seed, "shot.seed", found)
    _check_text(asked.prompt, "shot.prompt", limits, found)
    _check_text(asked.negative_prompt, "shot.negative_prompt", limits, found)
    _check_roles(asked.layers, limits, found)
    size = (width, height, num_frames)
    filled = replace(
        asked,
        model=limits.id,
        width=width,
        height=height,
        num_frames=num_frames,
        layers=tuple(
            _layer(asked, layer_index, size, limits, sources, found)
            for layer_index in range(len(asked.layers))
        ),
        num_inference_steps=_num_inference_steps(asked.num_inference_steps, limits, found),
        guidance_scale=_guidance_scale(asked.guidance_scale, limits, found),
    )
    if asked.layers and all(layer.kept for layer in asked.layers):
        found.add(
            "shot.layers",
            f"all {len(asked.layers)} layers are kept, so nothing is left to generate: leave kept "
            "out of at least one",
        )
    found.raise_if_any()
    return filled


def _model(model_id: str, catalogue: Catalogue) -> Model:
    try:
        return catalogue.find(model_id)
    except (UnknownModel, ModelDamaged) as refused:
        violation = FieldViolation("shot.model", refused.message)
        raise type(refused)(refused.message, [violation]) from refused


def _size(asked: Shot, limits: Limits, found: Findings) -> tuple[int, int]:
    if (asked.width, asked.height) == (0, 0):
        return limits.sizes[0]
    if (asked.width, asked.height) not in limits.sizes:
        allowed = ", ".join(f"{width} x {height}" for width, height in limits.sizes)
        known = {"width": {w for w, _ in limits.sizes}, "height": {h for _, h in limits.sizes}}
        field = "height" if asked.width in known["width"] else "width"
        found.add(
            f"shot.{field}",
            f"{asked.width} x {asked.height} pixels cannot be made by {limits.id}: "
            f"choose {allowed}, or leave both 0",
        )
    return asked.width, asked.height


def _num_frames(num_frames: int, limits: Limits, found: Findings) -> int:
    if num_frames and num_frames not in limits.num_frames:
        allowed = ", ".join(map(str, limits.num_frames))
        found.add(
            "shot.num_frames",
            f"{num_frames} frames cannot be made by {limits.id}: choose {allowed}, or leave it 0",
        )
    return num_frames or limits.num_frames[0]


def _num_inference_steps(num_inference_steps: int, limits: Limits, found: Findings) -> int:
    if not 0 <= num_inference_steps <= MAX_STEPS:
        found.add(
            "shot.num_inference_steps",
            f"{num_inference_steps} is not from 1 to {MAX_STEPS}: choose one of these, or leave it "
            f"0 for {limits.default_num_inference_steps}",
        )
    return num_inference_steps or limits.default_num_inference_steps


def _guidance_scale(guidance_scale: float, limits: Limits, found: Findings) -> float:
    is_known = math.isfinite(guidance_scale) and 1 <= guidance_scale <= MAX_GUIDANCE
    if guidance_scale != 0 and not is_known:
        found.add(
            "shot.guidance_scale",
            f"{guidance_scale:g} is not from 1 (off) to {MAX_GUIDANCE:g}: choose one of these, or "
            f"leave it 0 for {limits.default_guidance_scale:g}",
        )
    return guidance_scale or limits.default_guidance_scale


def _check_seed(seed: int, field: str, found: Findings) -> None:
    if seed < 0:
        found.add(field, f"{seed} is negative: choose a seed from 0 to {MAX_SEED}")


def _check_text(text: str, field: str, limits: Limits, found: Findings) -> None:
    if len(text) > limits.max_prompt_chars:
        found.add(
            field,
            f"the prompt has {len(text)} characters, {limits.id} reads {limits.max_prompt_chars}: "
            f"shorten it by {len(text) - limits.max_prompt_chars}",
        )
        return
    for position, character in enumerate(text):
        is_control = unicodedata.category(character) == "Cc" and character not in "\n\t"
        if is_control or character in _BIDIRECTIONAL:
            found.add(
                field,
                f"character {position + 1} is the control character U+{ord(character):04X}: "
                f"remove it",
            )
            return


def _check_roles(layers: Sequence[LayerSpec], limits: Limits, found: Findings) -> None:
    needed = f"a shot has a background and 1 to {limits.max_foregrounds} foregrounds"
    num_foregrounds = sum(layer.role is LayerRole.FOREGROUND for layer in layers)
    if not any(layer.role is LayerRole.BACKGROUND for layer in layers):
        found.add("shot.layers", f"the background is missing: {needed}, so put one first")
    if not 1 <= num_foregrounds <= limits.max_foregrounds:
        found.add(
            "shot.layers",
            f"there are {num_foregrounds} foregrounds: {needed} with {limits.id}",
        )
    for layer_index, layer in enumerate(layers):
        if layer.role is LayerRole.UNKNOWN:
            found.add(f"shot.layers[{layer_index}].role", f"the role is unknown: {needed}")
        elif layer_index and layer.role is LayerRole.BACKGROUND:
            found.add(
                f"shot.layers[{layer_index}].role",
                "only the first layer can be the background: make this a foreground",
            )


def _layer(
    asked: Shot,
    layer_index: int,
    size: Size,
    limits: Limits,
    sources: Mapping[str, Job],
    found: Findings,
) -> LayerSpec:
    layer, field = asked.layers[layer_index], f"shot.layers[{layer_index}]"
    if layer.kept:
        kept = fill_kept_layer(layer.kept, layer.role, size, sources, field, found)
        return kept or layer
    if not layer.prompt.strip():
        found.add(
            f"{field}.prompt",
            f"the prompt is empty: say what this layer shows, in 1 to "
            f"{limits.max_prompt_chars} characters",
        )
    _check_text(layer.prompt, f"{field}.prompt", limits, found)
    seed = asked.seed_of(layer_index)
    _check_seed(seed, f"{field}.seed", found)
    return replace(layer, seed=seed)
