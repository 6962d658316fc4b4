"""Effects that make composed scenes harder: shadows, soft and clear layers, blur, entrances, pairs.

Everything is off by default. Choices come from a generator of their own, so that switching one on
changes nothing else of a scene.

Shape letters: H, W, C channels. Pictures are premultiplied RGBA, sRGB.
"""

from collections.abc import Callable
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.random import Generator

from layert2v_training.data.clips import Pixels
from layert2v_training.number_kinds import NotNegative, Share

Draw = Callable[[float], Pixels]
"""Draws a layer (H, W, 4) at a phase from -0.5 to 0.5 of the clip."""

_EXPOSURES = 8
"""Pictures averaged for motion blur: at the speeds of `scenes` they lie under 2 pixels apart."""
_SHADOW_HEIGHT = 0.3
_SHADOW_SHEAR = 0.5
"""A shadow's height and lean, by the subject's height: a lamp behind and to the left."""


@dataclass(frozen=True)
class SceneEffects:
    """Frequencies of effects, as shares of layers, or of scenes where said."""

    shadow: Share = 0.0
    """The subject casts a shadow, which is part of its layer."""
    soft_edge: Share = 0.0
    """The subject is out of focus."""
    see_through: Share = 0.0
    """The whole layer is semi-transparent."""
    motion_blur: Share = 0.0
    """The shutter stays open for a part of each frame."""
    passing: Share = 0.0
    """The subject enters or leaves the frame."""
    several: Share = 0.0
    """A second subject moves along in the same layer."""
    occlusion: Share = 0.0
    """Share of scenes whose foregrounds overlap."""
    pan: NotNegative = 1.0
    """Factor by which the camera pans and zooms farther than usual."""


SOFT_MATTES = SceneEffects(shadow=0.5, soft_edge=0.5, see_through=0.5, motion_blur=0.5)
"""Effects that make mattes soft, often."""


@dataclass(frozen=True)
class LayerEffects:
    """Effects drawn for one layer. By default there are none."""

    sigma: float = 0.0
    """Blur in pixels."""
    opacity: float = 1.0
    shadow: float = 0.0
    """Darkness of the shadow."""
    shutter: float = 0.0
    """Share of a frame the shutter is open."""
    passes: str = ""
    """`enters`, `leaves` or nothing."""
    has_companion: bool = False

    def frame(self, draw: Draw, phase: float, step: float) -> Pixels:
        """Draw a layer at a phase. Frames are `step` apart."""
        picture = draw(phase)
        if self.shutter:
            phases = phase + self.shutter * step * np.linspace(-0.5, 0.5, _EXPOSURES)
            picture = np.mean([draw(float(moment)) for moment in phases], axis=0, dtype=np.float32)
        if self.sigma:
            picture = cv2.GaussianBlur(picture, (0, 0), self.sigma)
        if self.shadow:
            picture = _with_shadow(picture, self.shadow)
        return picture if self.opacity == 1 else picture * np.float32(self.opacity)


def draw_effects(rng: Generator, chosen: SceneEffects, height: int) -> LayerEffects:
    """Draw the effects of one layer of a picture of this height."""

    def happens(share: float) -> bool:
        return bool(rng.random() < share)

    return LayerEffects(
        sigma=rng.uniform(0.006, 0.02) * height if happens(chosen.soft_edge) else 0.0,
        opacity=rng.uniform(0.35, 0.8) if happens(chosen.see_through) else 1.0,
        shadow=rng.uniform(0.3, 0.6) if happens(chosen.shadow) else 0.0,
        shutter=rng.uniform(0.4, 1.0) if happens(chosen.motion_blur) else 0.0,
        passes=str(rng.choice(["enters", "leaves"])) if happens(chosen.passing) else "",
        has_companion=happens(chosen.several),
    )


def passing_x(
    passes: str, motion: str, place: float, half: float, width: int, phase: float
) -> float:
    """Horizontal centre of a subject that enters or leaves, `half` its width, all in pixels."""
    starts_left = (motion == "right") == (passes == "enters")
    outside = -half if starts_left else width + half
    share = phase + 0.5 if passes == "enters" else 0.5 - phase
    return outside + (place - outside) * share


PASSING_WORDS = {
    ("enters", "right"): "entering from the left",
    ("enters", "left"): "entering from the right",
    ("leaves", "right"): "leaving to the right",
    ("leaves", "left"): "leaving to the left",
}
"""Words of a caption about a passage and its direction."""


def side_by_side(left_HWC: Pixels, right_HWC: Pixels) -> Pixels:
    """Put two sprites on one ground line: one sprite as high as the higher."""
    height = max(len(left_HWC), len(right_HWC))
    raised = [
        np.pad(sprite, ((height - len(sprite), 0), (0, 0), (0, 0)))
        for sprite in (left_HWC, right_HWC)
    ]
    return np.concatenate(raised, axis=1)


def _with_shadow(picture_HWC: Pixels, darkness: float) -> Pixels:
    """Lay a picture over its own alpha, squashed and sheared from its lowest row, blurred."""
    alpha_HW = np.ascontiguousarray(picture_HWC[..., 3])
    height, width = alpha_HW.shape
    rows = np.flatnonzero(alpha_HW.max(axis=1) > 0.5)
    if len(rows) == 0:
        return picture_HWC
    ground = float(rows[-1])
    matrix = np.array(
        [
            [1, _SHADOW_SHEAR, -_SHADOW_SHEAR * ground],
            [0, 1 / _SHADOW_HEIGHT, ground - ground / _SHADOW_HEIGHT],
        ]
    )
    flags = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
    cast = cv2.warpAffine(alpha_HW, matrix, (width, height), flags=flags)
    shadow_HW = darkness * cv2.GaussianBlur(cast, (0, 0), height / 50)
    shaded = picture_HWC.copy()
    shaded[..., 3] += shadow_HW * (1 - alpha_HW)
    return shaded
