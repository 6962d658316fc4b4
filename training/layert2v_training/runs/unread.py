"""Fields of a recipe that each command reads, so that a change of another is refused by name.

`--set` speaks to one command and must be of a field that it reads. A `--recipe-file` describes a
whole run, which has several commands, so there a field is refused only if none of them reads it.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from layert2v_training.runs.overrides import InvalidRecipe

_CLIPS = (
    "joint_scene", "num_clips", "num_composed_clips", "starts_per_clip", "extra_sizes",
    "extra_num_frames", "fps", "transformer",
)  # fmt: skip
READS: Mapping[str, tuple[str, ...]] = {
    "vae": ("scene", "vae", "vae_clips", "vae_batch_size", "vae_size"),
    "alpha-vae": ("scene", "alpha_vae", "fps", "starts_per_clip"),
    "latents": _CLIPS,
    "joint": ("joint", "guidance_scale", *_CLIPS),
    "multi-foreground": ("multi_foreground", "joint.loop.seed", "guidance_scale", *_CLIPS),
    "decoders":
        ("decoders", "multi_foreground.lora", "joint.loop.seed", "joint_scene", "fps",
         "transformer"),
    "export":
        ("name", "joint_scene.width", "joint_scene.height", "joint_scene.num_frames",
         "extra_sizes", "extra_num_frames", "transformer", "joint.lora", "multi_foreground.lora",
         "joint.loop.seed", "num_inference_steps", "guidance_scale", "export", "fps"),
}  # fmt: skip
"""Fields, or fields of fields, that each command reads. `all` reads what the others do."""

CHECKED = (
    "base", "sampling_shift", "extra_sizes", "extra_num_frames", "transformer", "vae_size",
    *(f"{scene}.{part}" for scene in ("scene", "joint_scene")
      for part in ("width", "height", "num_frames", "foregrounds")),
    *(f"{stage}.{part}" for stage in ("joint", "multi_foreground")
      for part in ("lora", "loop.muon_scale", "loop.autocast", "noise.shift", "noise.synchronous")),
)  # fmt: skip
"""Fields that `recipe_checks` holds against others, so that any command may have to set them."""

_SMALL_VAE = ("vae", "vae_clips", "vae_batch_size", "vae_size", "decoders")
_COMPOSED = ("num_clips", "alpha_vae.num_clips", "decoders.num_soft_clips", "joint_scene", "scene")
_OF_OWN_SCENES = ("width", "height", "num_frames", "seed")
_WITHOUT_DATA = ("vae", "export")
"""Commands that take no `--data`, although other commands of the same run may."""


@dataclass(frozen=True)
class Situation:
    """The facts that decide which fields are read, beside the command."""

    base: str = "none"
    """Base, as the recipe says."""
    has_data: bool = False
    has_composed: bool = False
    """Whether composed clips stand beside the user's own."""


def reads(command: str, field: str, situation: Situation) -> bool:
    """Tell whether a command reads a field, given by names joined by dots."""
    if command == "all":
        return any(reads(one, field, situation) for one in READS)
    if situation.base != "none" and (command in ("vae", "decoders") or _is_in(field, _SMALL_VAE)):
        return False
    if _is_in(field, CHECKED):
        return True
    if not _is_in(field, READS[command]):
        return False
    if not situation.has_data or command in _WITHOUT_DATA:
        return field != "starts_per_clip" and (field != "fps" or command == "export")
    return not _is_in(field, _COMPOSED) or _is_of_own(command, field, situation)


def _is_of_own(command: str, field: str, situation: Situation) -> bool:
    """Tell whether a field of composed scenes counts although the user's clips are there."""
    scene, _, part = field.partition(".")
    if scene not in ("scene", "joint_scene"):
        return False
    mixes = situation.has_composed and command in ("latents", "joint", "multi-foreground")
    return mixes or not part or part in _OF_OWN_SCENES


def _is_in(field: str, names: tuple[str, ...]) -> bool:
    """Tell whether a field is one of those named, a part of one, or holds one."""
    return any(f"{field}.".startswith(f"{n}.") or f"{n}.".startswith(f"{field}.") for n in names)


def check_read(
    command: str, said: Mapping[str, Any], filed: Mapping[str, Any], situation: Situation
) -> None:
    """Refuse changes of fields that would not be read.

    Args:
        command: Command of `layert2v-train`.
        said: Changes by `--set`, nested.
        filed: Changes by files, nested.
        situation: Situation of this call.

    Raises:
        InvalidRecipe: Names the field, and who reads it.
    """
    for field in _leaves(said):
        if not reads(command, field, situation):
            raise InvalidRecipe(_refusal(command, field, situation))
    # A command without --data does not know whether the run's others have it.
    cases = [situation]
    if command in _WITHOUT_DATA:
        cases.append(Situation(situation.base, has_data=True, has_composed=True))
    for field in _leaves(filed):
        if not any(reads("all", field, case) for case in cases):
            raise InvalidRecipe(f"{_unread(field, situation)}; remove it from the --recipe-file")


def _leaves(changes: Mapping[str, Any], name: str = "") -> Iterator[str]:
    for part, value in changes.items():
        inner = f"{name}.{part}" if name else str(part)
        if isinstance(value, Mapping) and value:
            yield from _leaves(value, inner)
        else:
            yield inner


def _refusal(command: str, field: str, situation: Situation) -> str:
    others = [name for name in READS if reads(name, field, situation)]
    if not others:
        return f"{_unread(field, situation)}; leave out --set {field}"
    return (
        f"{command} does not read {field}, {' and '.join(others)} would; leave out --set {field}, "
        f"or keep what several commands share in a --recipe-file"
    )


def _unread(field: str, situation: Situation) -> str:
    other_data = Situation(situation.base, has_data=not situation.has_data)
    if reads("all", field, other_data):
        if not situation.has_data:
            return f"{field} is for your own clips, but --data is missing"
        counted = "; each of your clips counts once, or starts_per_clip times"
        return f"{field} is for composed clips, but --data takes your own instead" + (
            counted if field.endswith("num_clips") else ""
        )
    if situation.base != "none":
        return f"{field} is for recipes with a small VAE, but this one begins with a base"
    return f"no command reads {field}"
