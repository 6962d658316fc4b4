# SPDX-License-Identifier: GPL-3.0-or-later
"""The add-on's properties on a scene, typed for `scene` and `ui`; `ui.properties` declares them."""

from typing import Any, Protocol, cast

import bpy


class Foreground(Protocol):
    """One foreground of the next shot."""

    prompt: str
    """Description of the layer."""


class Form(Protocol):
    """The next shot of a scene, and the scene's place among projects."""

    prompt: str
    """Description of the full picture. Empty combines the layers' prompts."""
    background: str
    """Description of the farthest layer."""
    foregrounds: Any
    """Collection of `Foreground` in Blender, the farthest first."""
    negative_prompt: str
    """Description of content that must not appear."""
    seed: str
    """Whole number of up to 63 bits as a text, or empty."""
    is_seed_random: bool
    """Whether Generate draws a new seed."""
    model: str
    """Id of a model. Empty stands for the backend's first."""
    width: int
    """Width in pixels. 0 stands for the model's default."""
    height: int
    """Height in pixels. 0 stands for the model's default."""
    num_frames: int
    """Number of frames. 0 stands for the model's default."""
    project_uid: str
    """Id of the project, empty until the first request."""
    project_scene: str
    """Name of the scene that the id was given to."""
    ancestors: str
    """Earlier paths of the file as JSON, for `project.Identity`."""
    media_folder: str
    """Media root of the last request."""


def form_of(scene: bpy.types.Scene) -> Form:
    """Give the add-on's properties of a scene."""
    return cast(Form, getattr(scene, "layert2v"))  # noqa: B009 - the stubs do not know it
