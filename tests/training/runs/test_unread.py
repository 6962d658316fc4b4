import dataclasses
from collections.abc import Iterator
from typing import Any

import pytest

from layert2v_training.runs.recipes import Recipe, tiny
from layert2v_training.runs.unread import READS, Situation, reads

SITUATIONS = [
    Situation(base, has_data, has_composed)
    for base in ("none", "wan")
    for has_data in (False, True)
    for has_composed in (False, True)
]


def fields_of(value: Any, name: str = "") -> Iterator[str]:
    """Name the fields of a recipe that hold no other fields."""
    for field in dataclasses.fields(value):
        inner = getattr(value, field.name)
        path = f"{name}.{field.name}" if name else field.name
        if dataclasses.is_dataclass(inner):
            yield from fields_of(inner, path)
        else:
            yield path


def test_every_field_of_a_recipe_is_read_by_some_command() -> None:
    fields = list(fields_of(tiny()))

    unread = [f for f in fields if not any(reads("all", f, case) for case in SITUATIONS)]

    assert len(fields) > 100
    assert unread == []


def test_commands_read_fields_that_there_are() -> None:
    fields = {f.name for f in dataclasses.fields(Recipe)}

    assert {name.split(".")[0] for names in READS.values() for name in names} <= fields


@pytest.mark.parametrize(
    ("command", "field", "case"),
    [
        ("joint", "joint_scene.width", Situation(has_data=True)),
        ("joint", "joint_scene.panorama_yaw", Situation(has_data=True, has_composed=True)),
        ("joint", "joint_scene.panorama_yaw", Situation()),
        ("joint", "joint_scene.foregrounds", Situation()),
        ("multi-foreground", "joint.noise.shift", Situation()),
        ("latents", "num_clips", Situation()),
        ("latents", "starts_per_clip", Situation(has_data=True)),
        ("export", "multi_foreground.lora.rank", Situation(base="wan")),
        ("all", "decoders.loop.num_steps", Situation()),
    ],
)
def test_what_a_command_reads_may_be_set(command: str, field: str, case: Situation) -> None:
    assert reads(command, field, case)


@pytest.mark.parametrize(
    ("command", "field", "case"),
    [
        ("decoders", "joint_scene.panorama_yaw", Situation(has_data=True, has_composed=True)),
        ("decoders", "decoders.num_soft_clips", Situation(has_data=True)),
        ("multi-foreground", "joint.loop.learning_rate", Situation()),
        ("joint", "fps", Situation()),
        ("all", "vae_size.z_dim", Situation(base="wan")),
    ],
)
def test_what_a_command_leaves_aside_may_not(command: str, field: str, case: Situation) -> None:
    assert not reads(command, field, case)
