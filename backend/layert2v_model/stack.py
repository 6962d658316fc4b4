"""Frozen values the model gives and finishing changes: layers and the stack they form.

Shape letters: T frames, H, W. All pixels are float32, display-referred sRGB in [0, 1], RGB
straight. Shapes are checked once, at construction.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum

from torch import Tensor

from layert2v_model.alpha import flatten


class Role(StrEnum):
    """The role of a layer in its stack."""

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
    light_T2: Tensor | None = None
    """Colour outside and inside the matte per frame, summed (`alpha.light_of`), where it was stored
    on black; None where not."""

    def __post_init__(self) -> None:
        frames, channels, height, width = self.rgb_TCHW.shape
        if channels != 3 or self.alpha_T1HW.shape != (frames, 1, height, width):
            raise ValueError(
                f"a layer is RGB (T, 3, H, W) with alpha (T, 1, H, W), got "
                f"{tuple(self.rgb_TCHW.shape)} and {tuple(self.alpha_T1HW.shape)}"
            )

    @property
    def spill(self) -> float:
        """Colour outside the matte over that inside, as stored; 0 where it was not on black.

        At most 1, which an empty matte beside any light has too.
        """
        if self.light_T2 is None:
            return 0.0
        outside, inside = self.light_T2.sum(0).tolist()
        return min(outside / inside, 1.0) if inside > 0 else float(outside > 0)


@dataclass(frozen=True, eq=False)
class Stack:
    """The ordered layers of a take, back to front, with the full video they should flatten to."""

    layers: tuple[Layer, ...]
    """Index 0 is the background. Foregrounds follow, the last nearest the camera."""
    full_TCHW: Tensor
    """The full video as the model made it, or what a changed stack flattens to: (T, 3, H, W),
    sRGB in [0, 1]."""

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

    def reordered(self, order: Sequence[int]) -> "Stack":
        """Put the foregrounds in another order.

        Args:
            order: Every index of a foreground (from 1) once, back to front.

        Returns:
            A stack of the same layer objects. Its full video is what it now flattens to, clipped
            to [0, 1]: the model's shows the old order. The old order gives this very stack.

        Raises:
            ValueError: `order` is not a permutation of the foregrounds.
        """
        indices = list(range(1, len(self.layers)))
        if sorted(order) != indices:
            raise ValueError(
                f"the order is {list(order)}, this stack has foregrounds {indices}; "
                f"name each of them once, back to front"
            )
        return self if list(order) == indices else self._of(order)

    def without(self, index: int) -> "Stack":
        """Drop a foreground.

        Args:
            index: Index of the foreground, from 1.

        Returns:
            A stack of the other layer objects; its full video is what it now flattens to, clipped
            to [0, 1].

        Raises:
            ValueError: There is no such foreground, or it is the only one.
        """
        indices = list(range(1, len(self.layers)))
        if index not in indices or len(indices) == 1:
            raise ValueError(
                f"layer {index} cannot be dropped from foregrounds {indices}; name one of them, "
                f"and keep at least 1"
            )
        return self._of([other for other in indices if other != index])

    def _of(self, order: Sequence[int]) -> "Stack":
        layers = (self.background, *(self.layers[index] for index in order))
        changed = Stack(layers, self.full_TCHW)
        return Stack(layers, changed.flatten().clamp(0, 1))
