# SPDX-License-Identifier: GPL-3.0-or-later
"""The recipe of the next shot, as the .blend stores it. Undo changes it, unlike jobs."""

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
        description="Describes what this layer shows, such as: a red ball bouncing",
    )


class LAYERT2V_PG_scene(bpy.types.PropertyGroup):
    """The next shot of a scene, and the scene's place among projects."""

    prompt: StringProperty(
        name="Whole Picture",
        description="Describes all layers together. Leave empty to combine the layer prompts",
    )
    background: StringProperty(
        name="Background",
        description="Describes the farthest layer, without the foregrounds",
    )
    foregrounds: CollectionProperty(
        name="Foregrounds",
        description="Lists the foregrounds of the shot, the farthest first",
        type=LAYERT2V_PG_foreground,
    )
    negative_prompt: StringProperty(
        name="Negative Prompt",
        description="Names what must not appear in any layer",
    )
    # It is a text, because Blender's integers have 32 bits and seeds 63.
    seed: StringProperty(
        name="Seed",
        description=(
            "Repeats a shot. Equal shots with equal seeds give equal takes. Set a whole number of "
            "up to 63 bits, or leave empty to draw one"
        ),
    )
    is_seed_random: BoolProperty(
        name="Random",
        description="Draw a new seed each time Generate is pressed",
        default=True,
    )
    model: StringProperty(
        name="Model",
        description="Generates the shot. Leave empty to use the backend's first model",
    )
    width: IntProperty(
        name="Width",
        description="Sets the width of the picture in pixels. 0 stands for the model's default",
        min=0,
    )
    height: IntProperty(
        name="Height",
        description="Sets the height of the picture in pixels. 0 stands for the model's default",
        min=0,
    )
    num_frames: IntProperty(
        name="Frames",
        description="Sets the length of the shot in frames. 0 stands for the model's default",
        min=0,
    )
    project_uid: StringProperty(options={"HIDDEN"})
    project_scene: StringProperty(options={"HIDDEN"})
    ancestors: StringProperty(options={"HIDDEN"})
    media_folder: StringProperty(options={"HIDDEN"})


CLASSES = (LAYERT2V_PG_foreground, LAYERT2V_PG_scene)
