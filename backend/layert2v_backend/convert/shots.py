"""Shots: from the wire, checked and with every default filled in, and back as an echo.

Layer seeds that a shot leaves open are derived by `layer_seed`, so that the echo is complete.
"""

import hashlib
import math
import unicodedata
from collections.abc import Mapping, Sequence

from layert2v.v1 import shot_pb2
from layert2v_backend.convert.requests import JOB_NAME
from layert2v_backend.errors import (
    FieldViolation,
    InvalidShot,
    KeptJobNotSucceeded,
    ModelDamaged,
    Refused,
    UnknownJob,
    UnknownModel,
    shown,
)
from layert2v_backend.jobs import (
    MAX_SEED,
    Job,
    JobState,
    KeptLayer,
    LayerRole,
    LayerSpec,
    Shot,
)
from layert2v_backend.models import Catalogue, Limits, Model

MAX_LAYERS = 64
"""No model has so many; a request with more is refused before anything walks its layers."""
MAX_STEPS = 200
MAX_GUIDANCE = 20.0

_BIDIRECTIONAL = frozenset("\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069")
"""Invisible characters that make a text read otherwise than it is. Source: Unicode TR 36, 2.10."""

_ROLES = {
    shot_pb2.LAYER_ROLE_BACKGROUND: LayerRole.BACKGROUND,
    shot_pb2.LAYER_ROLE_FOREGROUND: LayerRole.FOREGROUND,
}


class _Findings:
    """Collects what is wrong with a request, to say it all at once."""

    def __init__(self) -> None:
        self.violations: list[FieldViolation] = []
        self.kind: type[Refused] = InvalidShot

    def add(self, field: str, description: str, kind: type[Refused] = InvalidShot) -> None:
        if not self.violations:
            self.kind = kind
        elif kind is not self.kind:
            self.kind = InvalidShot
        self.violations.append(FieldViolation(field, description))

    def raise_if_any(self) -> None:
        if self.violations:
            first, *rest = self.violations
            more = f" (and {len(rest)} more)" if rest else ""
            message = f"{first.field}: {first.description}{more}"
            raise self.kind(message, self.violations)


def layer_seed(shot_seed: int, layer_index: int) -> int:
    """Derive the seed of a layer that has none: in [0, 2**63), equal on every machine and version.

    The first 63 bits of the SHA-256 of `<shot seed>/layer_<index>`.
    """
    digest = hashlib.sha256(f"{shot_seed}/layer_{layer_index}".encode()).digest()
    return int.from_bytes(digest[:8], "big") >> 1


def check_counts(shot: shot_pb2.Shot) -> None:
    """Refuse a shot that no model could make, before anything walks it.

    Raises:
        InvalidShot: It has more than `MAX_LAYERS` layers.
    """
    if len(shot.layers) > MAX_LAYERS:
        found = _Findings()
        found.add(
            "shot.layers",
            f"there are {len(shot.layers)} layers, no model makes more than {MAX_LAYERS}: "
            f"send fewer",
        )
        found.raise_if_any()


def kept_job_ids(shot: shot_pb2.Shot) -> set[str]:
    """List the jobs whose layers a shot keeps; malformed names are left for `shot_from_proto`."""
    names = (layer.kept.job for layer in shot.layers if layer.HasField("kept"))
    return {match[1] for name in names if (match := JOB_NAME.fullmatch(name))}


def shot_from_proto(shot: shot_pb2.Shot, catalogue: Catalogue, kept: Mapping[str, Job]) -> Shot:
    """Check a shot and fill in every default.

    Args:
        shot: As sent.
        catalogue: The models there are.
        kept: The jobs of `kept_job_ids` that exist, by id.

    Raises:
        InvalidShot: Something cannot be made; every wrong field is listed.
        UnknownModel: The model, and nothing else, is wrong.
        UnknownJob: A kept layer's job, and nothing else, is wrong.
        KeptJobNotSucceeded: Such a job has no take.
        ModelDamaged: The model's description cannot be read.
    """
    found = _Findings()
    limits = _model_from_proto(shot.model, catalogue).limits
    width, height = _size_from_proto(shot, limits, found)
    num_frames = _num_frames_from_proto(shot.num_frames, limits, found)
    _check_seed(shot.seed, "shot.seed", found)
    _check_text(shot.prompt, "shot.prompt", limits, found)
    _check_text(shot.negative_prompt, "shot.negative_prompt", limits, found)
    _check_roles(shot.layers, limits, found)
    size = (width, height, num_frames)
    checked = Shot(
        model=limits.id,
        prompt=shot.prompt,
        negative_prompt=shot.negative_prompt,
        layers=tuple(
            _layer_from_proto(shot, index, limits, kept, size, found)
            for index in range(len(shot.layers))
        ),
        width=width,
        height=height,
        num_frames=num_frames,
        seed=shot.seed,
        num_inference_steps=_steps_from_proto(shot.num_inference_steps, limits, found),
        guidance_scale=_guidance_from_proto(shot.guidance_scale, limits, found),
        skip_finishing=shot.skip_finishing,
    )
    if shot.layers and all(layer.HasField("kept") for layer in shot.layers):
        found.add(
            "shot.layers",
            f"all {len(shot.layers)} layers are kept, there is nothing to generate: "
            f"leave kept away from at least one",
        )
    found.raise_if_any()
    return checked


def _model_from_proto(model_id: str, catalogue: Catalogue) -> Model:
    try:
        return catalogue.find(model_id)
    except (UnknownModel, ModelDamaged) as refused:
        violation = FieldViolation("shot.model", refused.message)
        raise type(refused)(refused.message, [violation]) from refused


def _size_from_proto(shot: shot_pb2.Shot, limits: Limits, found: _Findings) -> tuple[int, int]:
    if (shot.width, shot.height) == (0, 0):
        return limits.sizes[0]
    if (shot.width, shot.height) not in limits.sizes:
        allowed = ", ".join(f"{width} x {height}" for width, height in limits.sizes)
        known = {"width": {w for w, _ in limits.sizes}, "height": {h for _, h in limits.sizes}}
        field = "height" if shot.width in known["width"] else "width"
        found.add(
            f"shot.{field}",
            f"{shot.width} x {shot.height} pixels cannot be made by {limits.id}: "
            f"choose {allowed}, or leave both 0",
        )
    return shot.width, shot.height


def _num_frames_from_proto(num_frames: int, limits: Limits, found: _Findings) -> int:
    if num_frames and num_frames not in limits.num_frames:
        allowed = ", ".join(map(str, limits.num_frames))
        found.add(
            "shot.num_frames",
            f"{num_frames} frames cannot be made by {limits.id}: choose {allowed}, or leave it 0",
        )
    return num_frames or limits.num_frames[0]


def _steps_from_proto(steps: int, limits: Limits, found: _Findings) -> int:
    if not 0 <= steps <= MAX_STEPS:
        found.add(
            "shot.num_inference_steps",
            f"{steps} is not from 1 to {MAX_STEPS}: choose one of these, or leave it 0 for "
            f"{limits.default_num_inference_steps}",
        )
    return steps or limits.default_num_inference_steps


def _guidance_from_proto(guidance: float, limits: Limits, found: _Findings) -> float:
    if guidance != 0 and not (math.isfinite(guidance) and 1 <= guidance <= MAX_GUIDANCE):
        found.add(
            "shot.guidance_scale",
            f"{guidance:g} is not from 1 (off) to {MAX_GUIDANCE:g}: choose one of these, or leave "
            f"it 0 for {limits.default_guidance_scale:g}",
        )
    return guidance or limits.default_guidance_scale


def _check_seed(seed: int, field: str, found: _Findings) -> None:
    if seed < 0:
        found.add(field, f"{seed} is negative: choose a seed from 0 to {MAX_SEED}")


def _check_text(text: str, field: str, limits: Limits, found: _Findings) -> None:
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


def _check_roles(layers: Sequence[shot_pb2.LayerSpec], limits: Limits, found: _Findings) -> None:
    needed = f"a shot has a background and 1 to {limits.max_foregrounds} foregrounds"
    num_foregrounds = sum(layer.role == shot_pb2.LAYER_ROLE_FOREGROUND for layer in layers)
    if not any(layer.role == shot_pb2.LAYER_ROLE_BACKGROUND for layer in layers):
        found.add("shot.layers", f"there is no background: {needed}; put one first")
    if not 1 <= num_foregrounds <= limits.max_foregrounds:
        found.add(
            "shot.layers",
            f"there are {num_foregrounds} foregrounds: {needed} with {limits.id}",
        )
    for index, layer in enumerate(layers):
        if layer.role not in _ROLES:
            found.add(f"shot.layers[{index}].role", f"role {layer.role} is not known: {needed}")
        elif index and layer.role == shot_pb2.LAYER_ROLE_BACKGROUND:
            found.add(
                f"shot.layers[{index}].role",
                "the background is the first layer and the only one: make this a foreground",
            )


def _layer_from_proto(
    shot: shot_pb2.Shot,
    index: int,
    limits: Limits,
    kept: Mapping[str, Job],
    size: tuple[int, int, int],
    found: _Findings,
) -> LayerSpec:
    layer, field = shot.layers[index], f"shot.layers[{index}]"
    role = _ROLES.get(layer.role, LayerRole.FOREGROUND)
    if layer.HasField("kept"):
        source = _kept_from_proto(layer, role, field, kept, size, found)
        return source or LayerSpec(role, layer.prompt, 0)
    if not layer.prompt.strip():
        found.add(
            f"{field}.prompt",
            f"the prompt is empty: say what this {role} shows, in 1 to "
            f"{limits.max_prompt_chars} characters",
        )
    _check_text(layer.prompt, f"{field}.prompt", limits, found)
    seed = layer.seed if layer.HasField("seed") else layer_seed(shot.seed, index)
    _check_seed(seed, f"{field}.seed", found)
    return LayerSpec(role, layer.prompt, seed)


def _kept_from_proto(
    layer: shot_pb2.LayerSpec,
    role: LayerRole,
    field: str,
    kept: Mapping[str, Job],
    size: tuple[int, int, int],
    found: _Findings,
) -> LayerSpec | None:
    """The kept layer with its source's prompt and seed; None, with findings, where it cannot be."""
    add = found.add
    name, index = layer.kept.job, layer.kept.layer_index
    match = JOB_NAME.fullmatch(name)
    if not match:
        add(f"{field}.kept.job", f"{shown(name)} is not of the form jobs/{{job}}")
        return None
    job = kept.get(match[1])
    if job is None:
        add(f"{field}.kept.job", f"there is no job {name}: list the jobs", UnknownJob)
        return None
    if job.state is not JobState.SUCCEEDED:
        description = f"{name} is {job.state}: a layer can be kept from a job that succeeded"
        add(f"{field}.kept.job", description, KeptJobNotSucceeded)
        return None
    source = job.shot
    if not 0 <= index < len(source.layers):
        limit = f"{name} has layers 0 to {len(source.layers) - 1}"
        add(f"{field}.kept.layer_index", f"{index} is not a layer: {limit}")
        return None
    if source.layers[index].role is not role:
        found_role = f"layer {index} of {name} is a {source.layers[index].role}"
        add(f"{field}.kept.layer_index", f"{found_role}, this layer is a {role}: choose another")
        return None
    if (source.width, source.height, source.num_frames) != size:
        description = (
            f"{name} has {source.width} x {source.height} pixels and {source.num_frames} frames, "
            f"this shot {size[0]} x {size[1]} and {size[2]}: make them equal"
        )
        add(f"{field}.kept.job", description)
        return None
    return LayerSpec(
        role, source.layers[index].prompt, source.layers[index].seed, KeptLayer(job.id, index)
    )


def shot_to_proto(shot: Shot) -> shot_pb2.Shot:
    """Echo a shot; `shot_from_proto` of the result is the same shot."""
    return shot_pb2.Shot(
        model=shot.model,
        prompt=shot.prompt,
        negative_prompt=shot.negative_prompt,
        layers=[_layer_to_proto(layer) for layer in shot.layers],
        width=shot.width,
        height=shot.height,
        num_frames=shot.num_frames,
        seed=shot.seed,
        num_inference_steps=shot.num_inference_steps,
        guidance_scale=shot.guidance_scale,
        skip_finishing=shot.skip_finishing,
    )


def _layer_to_proto(layer: LayerSpec) -> shot_pb2.LayerSpec:
    role = shot_pb2.LayerRole.Value(f"LAYER_ROLE_{layer.role.name}")
    spec = shot_pb2.LayerSpec(role=role, prompt=layer.prompt, seed=layer.seed)
    if layer.kept:
        spec.kept.job = f"jobs/{layer.kept.job}"
        spec.kept.layer_index = layer.kept.layer_index
    return spec
