# SPDX-License-Identifier: GPL-3.0-or-later
"""What is stored in the .blend: the recipe of the next shot. Undoable, unlike jobs."""

import bpy
from bpy.props import (
    BoolProperty,
    CollectionProperty,
    IntProperty,
    StringProperty,
)


class LAYERT2V_PG_foreground(bpy.types.PropertyGroup):
    """One foreground of the next shot."""

    prompt: StringProperty(  # type: ignore[valid-type]
        name="Foreground",
        description="What this layer shows, such as: a red ball bouncing",
    )


class LAYERT2V_PG_scene(bpy.types.PropertyGroup):
    """The next shot of a scene, and the scene's place among projects."""

    prompt: StringProperty(  # type: ignore[valid-type]
        name="Whole Picture",
        description="Describes all layers together. Leave empty to combine the layer prompts",
    )
    background: StringProperty(  # type: ignore[valid-type]
        name="Background",
        description="The farthest layer, without the foregrounds",
    )
    foregrounds: CollectionProperty(type=LAYERT2V_PG_foreground)  # type: ignore[valid-type]
    negative_prompt: StringProperty(  # type: ignore[valid-type]
        name="Negative Prompt",
        description="Names what must not appear in any layer",
    )
    # A text: Blender's integers have 32 bits, seeds 63.
    seed: StringProperty(  # type: ignore[valid-type]
        name="Seed",
        description=(
            "A whole number of up to 63 bits; equal shots with equal seeds give equal takes. Leave "
            "empty to draw one"
        ),
    )
    is_seed_random: BoolProperty(  # type: ignore[valid-type]
        name="Random",
        description="Draw a new seed each time Generate is pressed",
        default=True,
    )
    model: StringProperty(  # type: ignore[valid-type]
        name="Model",
        description="Model that makes the shot; empty: the backend's first",
    )
    width: IntProperty(name="Width", min=0)  # type: ignore[valid-type]
    height: IntProperty(name="Height", min=0)  # type: ignore[valid-type]
    num_frames: IntProperty(name="Frames", min=0)  # type: ignore[valid-type]
    project_uid: StringProperty(options={"HIDDEN"})  # type: ignore[valid-type]
    project_scene: StringProperty(options={"HIDDEN"})  # type: ignore[valid-type]
    ancestors: StringProperty(options={"HIDDEN"})  # type: ignore[valid-type]
    media_folder: StringProperty(options={"HIDDEN"})  # type: ignore[valid-type]


CLASSES = (LAYERT2V_PG_foreground, LAYERT2V_PG_scene)
