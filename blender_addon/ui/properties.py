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

    prompt: StringProperty(
        name="Foreground",
        description="What this layer shows, such as: a red ball bouncing",
    )


class LAYERT2V_PG_scene(bpy.types.PropertyGroup):
    """The next shot of a scene, and the scene's place among projects."""

    prompt: StringProperty(
        name="Whole Picture",
        description="Describes all layers together. Leave empty to combine the layer prompts",
    )
    background: StringProperty(
        name="Background",
        description="The farthest layer, without the foregrounds",
    )
    foregrounds: CollectionProperty(type=LAYERT2V_PG_foreground)
    negative_prompt: StringProperty(
        name="Negative Prompt",
        description="Names what must not appear in any layer",
    )
    # A text: Blender's integers have 32 bits, seeds 63.
    seed: StringProperty(
        name="Seed",
        description=(
            "A whole number of up to 63 bits; equal shots with equal seeds give equal takes. Leave "
            "empty to draw one"
        ),
    )
    is_seed_random: BoolProperty(
        name="Random",
        description="Draw a new seed each time Generate is pressed",
        default=True,
    )
    model: StringProperty(
        name="Model",
        description="Model that makes the shot; empty: the backend's first",
    )
    width: IntProperty(name="Width", min=0)
    height: IntProperty(name="Height", min=0)
    num_frames: IntProperty(name="Frames", min=0)
    project_uid: StringProperty(options={"HIDDEN"})
    project_scene: StringProperty(options={"HIDDEN"})
    ancestors: StringProperty(options={"HIDDEN"})
    media_folder: StringProperty(options={"HIDDEN"})


CLASSES = (LAYERT2V_PG_foreground, LAYERT2V_PG_scene)
