"""Frozen values the model gives and finishing changes: layers and the stack they form.

Shape letters: T frames, H, W. All pixels are float32, display-referred sRGB in [0, 1], RGB
straight. Shapes are checked once, at construction.
"""

from dataclasses import dataclass
from enum import StrEnum

from torch import Tensor

from layert2v_model.alpha import flatten


class Role(StrEnum):
    """Which job a layer does in its stack."""

    BACKGROUND = "background"
    FOREGROUND = "foreground"


@dataclass(frozen=True, eq=False)
class Layer:
    """One RGBA image sequence with a place in a picture."""

    role: Role
    """Background (opaque, farthest) or foreground."""
    rgb_TCHW: Tensor
    """Straight colour (T, 3, H, W), sRGB in [0, 1]."""
    alpha_T1HW: Tensor
    """Coverage (T, 1, H, W) in [0, 1]; all ones for a background."""

    def __post_init__(self) -> None:
        frames, channels, height, width = self.rgb_TCHW.shape
        if channels != 3 or self.alpha_T1HW.shape != (frames, 1, height, width):
            raise ValueError(
                f"a layer is RGB (T, 3, H, W) with alpha (T, 1, H, W), got "
                f"{tuple(self.rgb_TCHW.shape)} and {tuple(self.alpha_T1HW.shape)}"
            )


@dataclass(frozen=True, eq=False)
class Stack:
    """The ordered layers of a take, back to front, with the full video they should flatten to."""

    layers: tuple[Layer, ...]
    """Index 0 is the background; foregrounds follow, the last nearest the camera."""
    full_TCHW: Tensor
    """The full video as the model made it, (T, 3, H, W), sRGB in [0, 1]."""

    def __post_init__(self) -> None:
        roles = [layer.role for layer in self.layers]
        expected = [Role.BACKGROUND] + [Role.FOREGROUND] * (len(roles) - 1)
        if len(roles) < 2 or roles != expected:
            raise ValueError(f"a stack is a background, then 1 or more foregrounds, got {roles}")
        for index, layer in enumerate(self.layers):
            if layer.rgb_TCHW.shape != self.full_TCHW.shape:
                raise ValueError(
                    f"layer {index} is {tuple(layer.rgb_TCHW.shape)}, the full video is "
                    f"{tuple(self.full_TCHW.shape)}: they must be equal"
                )

    @property
    def background(self) -> Layer:
        """The farthest layer."""
        return self.layers[0]

    @property
    def foregrounds(self) -> tuple[Layer, ...]:
        """The layers with alpha, back to front."""
        return self.layers[1:]

    def flatten(self) -> Tensor:
        """Composite the layers: (T, 3, H, W), sRGB, not clipped."""
        pairs = [(layer.rgb_TCHW, layer.alpha_T1HW) for layer in self.foregrounds]
        return flatten(self.background.rgb_TCHW, pairs)
