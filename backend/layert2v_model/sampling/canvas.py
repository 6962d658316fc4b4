"""A take's stack while its frames come in: shaped from the start, drawn a few frames at a time.

Shape letters: T frames, C channels, H, W. Pixels are display-referred sRGB in [0, 1], RGB straight.
"""

from collections.abc import Mapping

import torch
from torch import Tensor

from layert2v_model.alpha import light_of, unpremultiply
from layert2v_model.sampling.given import Plate
from layert2v_model.sampling.grid import LatentGrid
from layert2v_model.stack import Layer, Role, Stack
from layert2v_model.streams import stream_names


class Canvas:
    """Given parts stand on it from the start. The others are drawn as they are decoded."""

    def __init__(
        self,
        plates: Mapping[str, Plate],
        grid: LatentGrid,
        num_foregrounds: int,
        *,
        fills_black: bool,
    ) -> None:
        """Lay it out.

        Args:
            plates: Given parts, by stream.
            grid: The shot's size.
            num_foregrounds: Number of foregrounds, from 1.
            fills_black: Whether foregrounds are decoded premultiplied on black.
        """
        self._plates = plates
        self._given = {
            name: plate.pinned_frames(grid)
            for name, plate in plates.items()
            if plate.pinned_T1HW.any()
        }
        self._shown = {
            name: self._given[name] if self._is_pinned(name) else _blank(name, grid)
            for name in stream_names(num_foregrounds)
        }
        background_TCHW = self._shown["background"]
        layers = [Layer(Role.BACKGROUND, background_TCHW, torch.ones_like(background_TCHW[:, :1]))]
        self._light: dict[str, Tensor] = {}
        for k in range(1, num_foregrounds + 1):
            name, alpha_T1HW = f"foreground_{k}", self._shown[f"alpha_{k}"]
            if fills_black and not self._is_pinned(name):
                self._light[name] = torch.zeros(grid.num_frames, 2, dtype=torch.float64)
            light_T2 = self._light.get(name)
            layers.append(Layer(Role.FOREGROUND, self._shown[name], alpha_T1HW, light_T2))
        self.stack = Stack(tuple(layers), self._shown["full"])
        """Frames that are not drawn yet hold anything."""

    def draw(self, frames: slice, made: Mapping[str, Tensor]) -> None:
        """Draw frames of every stream that was made, given pixels bit for bit within them.

        Args:
            frames: Their numbers.
            made: As decoded, (T of these frames, C, H, W), by stream.
        """
        alphas = [name for name in made if name.startswith("alpha_")]
        for name in (*alphas, *(name for name in made if name not in alphas)):
            pixels_TCHW = made[name]
            if name in self._light:
                alpha_T1HW = self._shown[name.replace("foreground_", "alpha_")][frames]
                self._light[name][frames] = light_of(pixels_TCHW, alpha_T1HW)
                pixels_TCHW = unpremultiply(pixels_TCHW, alpha_T1HW).clamp(0, 1)
            if name in self._given:
                is_given_T1HW = self._plates[name].pinned_T1HW[frames]
                pixels_TCHW = torch.where(is_given_T1HW, self._given[name][frames], pixels_TCHW)
            self._shown[name][frames] = pixels_TCHW

    def _is_pinned(self, name: str) -> bool:
        return name in self._plates and self._plates[name].is_pinned


def _blank(name: str, grid: LatentGrid) -> Tensor:
    channels = 1 if name.startswith("alpha_") else 3
    return torch.empty(grid.num_frames, channels, grid.height, grid.width)
