"""A stack as planar numpy arrays, with the regions that metrics look at.

Shape letters: T frames, C channels, H, W. Pixels are display-referred sRGB in [0, 1], RGB
straight. Metrics are computed there, where the training composites are made.
"""

from dataclasses import dataclass
from functools import cached_property

import cv2
import numpy as np
from numpy.typing import NDArray

from layert2v_model.finishing.fill import Floats
from layert2v_model.finishing.frames import clear, composite, frames_of
from layert2v_model.finishing.report import COVERED, OPEN, eroded
from layert2v_model.stack import Stack

Region = NDArray[np.bool_]
"""Pixels (T, H, W)."""
_NEAR = 0.1
"""Height of the picture that effects reach from a foreground. Source: docs/evaluation.md, R2."""


@dataclass(frozen=True, eq=False)
class Planes:
    """Layers as arrays, and what they flatten to."""

    full_TCHW: Floats
    background_TCHW: Floats
    colours: tuple[Floats, ...]
    """(T, 3, H, W) per foreground, back to front."""
    alphas: tuple[Floats, ...]
    """(T, H, W) per foreground."""

    @classmethod
    def of(cls, stack: Stack) -> "Planes":
        """View a stack."""
        return cls(
            frames_of(stack.full_TCHW),
            frames_of(stack.background.rgb_TCHW),
            tuple(frames_of(layer.rgb_TCHW) for layer in stack.foregrounds),
            tuple(frames_of(layer.alpha_T1HW)[:, 0] for layer in stack.foregrounds),
        )

    @cached_property
    def composite_TCHW(self) -> Floats:
        """The layers flattened, at full precision."""
        frames = [
            composite(plate_CHW, [c[t] for c in self.colours], [a[t] for a in self.alphas])
            for t, plate_CHW in enumerate(self.background_TCHW)
        ]
        return np.stack(frames)

    @cached_property
    def coverage_THW(self) -> Floats:
        """Share of light that the foregrounds keep from the background."""
        return np.float32(1) - clear(self.alphas, self.alphas[0])

    @cached_property
    def core_THW(self) -> Region:
        """Plainly covered, clear of the edge."""
        return eroded(self.coverage_THW > COVERED)

    @cached_property
    def edge_THW(self) -> Region:
        """Partly covered."""
        return (self.coverage_THW > OPEN) & (self.coverage_THW < COVERED)

    @cached_property
    def open_THW(self) -> Region:
        """Not covered."""
        return self.coverage_THW < OPEN

    @cached_property
    def near_THW(self) -> Region:
        """Open, and within a tenth of the height of something covered."""
        reach = _NEAR * self.coverage_THW.shape[1]
        return self.open_THW & within(self.coverage_THW > 0.5, reach)


def within(region_THW: Region, reach: float) -> Region:
    """Grow the region of every frame by `reach` pixels."""
    distances = [
        cv2.distanceTransform((~region_HW).astype(np.uint8), cv2.DIST_L2, cv2.DIST_MASK_PRECISE)
        if region_HW.any()
        else np.full(region_HW.shape, np.inf)
        for region_HW in region_THW
    ]
    return np.stack(distances) <= reach
