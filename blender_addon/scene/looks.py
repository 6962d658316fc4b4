# SPDX-License-Identifier: GPL-3.0-or-later
"""The looks of strips, which are their files, colour space and description."""

from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path

import bpy

from layert2v_client import ArtifactFormat, ArtifactKind

from .. import compat
from ..core.takes import Take, UnreadableTake, check_files
from ..core.timing import frames_shown, scene_fps, take_fps
from . import provenance
from .provenance import Provenance


@dataclass(frozen=True)
class Look:
    """Properties that the strips of a shot share."""

    shot: str
    """Id of the shot."""
    rate: Fraction
    """Frames per second of the scene for which the strips are laid out."""
    space: str
    """Colour space of the pictures, as the OCIO configuration in use names it."""


def scene_rate(scene: bpy.types.Scene) -> Fraction:
    """Give the frames per second of a scene."""
    return scene_fps(scene.render.fps, scene.render.fps_base)


def rate_of(scene: bpy.types.Scene, described: Provenance) -> Fraction:
    """Give the rate that a strip was laid out for, or the scene's for strips without one."""
    return Fraction(described.rate) if described.rate else scene_rate(scene)


def files_shown(
    take: Take, kind: ArtifactKind, layer: int, file_format: ArtifactFormat, rate: Fraction
) -> list[Path]:
    """List the file for each scene frame, in a scene of a frame rate."""
    frames = take.frames(kind, layer, file_format)
    if not frames:
        raise UnreadableTake(
            f"The take in {take.folder} holds no {file_format} of {kind} {max(layer, 0)}. "
            "Regenerate the layer."
        )
    check_files(take, frames)
    return [frames[index] for index in frames_shown(len(frames), take_fps(take.fps), rate)]


def describe(
    strip: compat.Strip,
    take: Take,
    kind: ArtifactKind,
    layer: int,
    file_format: ArtifactFormat,
    look: Look,
) -> None:
    """Set the alpha mode and colour space of a strip, and store its provenance."""
    strip.alpha_mode = "PREMUL" if file_format is ArtifactFormat.EXR else "STRAIGHT"
    strip.colorspace_settings.name = look.space
    path, rate = stored_path(take.folder), str(look.rate)
    described = provenance.of_take(take, kind, layer, path, str(file_format), look.shot, rate)
    provenance.write(strip, described)


def stored_path(path: Path) -> str:
    """Write a path for the .blend, relative if possible."""
    if not bpy.data.filepath:
        return str(path)
    try:
        return str(bpy.path.relpath(str(path)))
    except ValueError:  # It is on another drive of Windows.
        return str(path)
