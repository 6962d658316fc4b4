"""Layers of an EXR file: parts, view layers and passes, each with its channels in one window.

Shape letters: H, W.
"""

import io
from collections.abc import Mapping
from contextlib import AbstractContextManager, redirect_stdout
from dataclasses import dataclass, replace
from fractions import Fraction
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import OpenEXR
from numpy.typing import NDArray

from layert2v_media.errors import UnreadableMedia
from layert2v_media.limits import (
    MAX_CHANNELS,
    MAX_PARTS,
    MAX_SAMPLES,
    check_ratio,
    check_size,
)
from layert2v_media.transfer import Pixels

_COMBINED = "combined"
"""Blender's pass that holds a view layer's picture."""
_COMPOSITE = "composite.combined"
"""The layer that Blender's compositor made of all view layers."""
_LETTERS = ("R", "G", "B", "A", "Y", "Z", "RY", "BY")
_MOST_NAMED = 12
"""Layers that a refusal names."""


@dataclass(frozen=True, eq=False)
class ExrLayer:
    """One layer."""

    name: str
    """Empty for the channels R, G, B, A that have no layer's name."""
    planes: dict[str, Pixels]
    """Channel to (H, W), in the display window; finite in a layer that was chosen."""
    header: Mapping[str, Any]
    """Header of its part."""

    @property
    def title(self) -> str:
        """The layer's name in a message."""
        return self.name or "RGBA"

    @property
    def aspect(self) -> Fraction:
        """Width over height of a pixel."""
        said = float(self.header.get("pixelAspectRatio", 1.0))
        is_ratio = np.isfinite(said) and 0.1 <= said <= 10
        return Fraction(said).limit_denominator(1000) if is_ratio else Fraction(1)


def read_exr_layers(path: Path) -> dict[str, ExrLayer]:
    """Read all layers of a file: a part's name, or the prefix of its channels, to the layer.

    Raises:
        UnreadableMedia: Damaged, cut short, deep, or beyond a limit.
    """
    try:
        num_parts = _check_headers(path)
        with _silent(), OpenEXR.File(str(path), separate_channels=True) as file:
            # A truncated or corrupt part is not an error to the library: it is left out.
            if len(file.parts) != num_parts:
                raise UnreadableMedia(path, "is damaged or cut short; write it again")
            layers = _layers(path, file.parts)
    except (RuntimeError, ValueError, OSError, MemoryError, TypeError) as failure:
        if isinstance(failure, UnreadableMedia):
            raise
        raise UnreadableMedia(path, _why(path, failure)) from failure
    if not layers:
        raise UnreadableMedia(path, "is damaged or cut short: it holds no channel; write it again")
    return layers


def _silent() -> AbstractContextManager[object]:
    """Keep the library's warnings of damage off stdout, where programs write their results."""
    return redirect_stdout(io.StringIO())


def exr_size(path: Path) -> tuple[int, int]:
    """Give width and height as people see them, from the first header alone.

    Raises:
        UnreadableMedia: As `read_exr_layers`, as far as headers tell.
    """
    try:
        _check_headers(path)
        with OpenEXR.File(str(path), header_only=True) as file:
            header = dict(file.header())
            (left, top), (right, bottom) = header["displayWindow"]
    except (RuntimeError, ValueError, OSError, MemoryError, TypeError) as failure:
        if isinstance(failure, UnreadableMedia):
            raise
        raise UnreadableMedia(path, _why(path, failure)) from failure
    width, height = int(right) - int(left) + 1, int(bottom) - int(top) + 1
    return max(1, round(width * ExrLayer("", {}, header).aspect)), height


def _why(path: Path, failure: BaseException) -> str:
    if not path.is_file():
        return "cannot be read (no such file); check the name"
    if isinstance(failure, PermissionError):
        return "cannot be read (permission denied); check who may read it"
    return "cannot be read as EXR: it is damaged or cut short; write it again"


def _check_headers(path: Path) -> int:
    """Check every part against the limits, and count them."""
    with OpenEXR.File(str(path), header_only=True) as file:
        if not 0 < len(file.parts) <= MAX_PARTS:
            reason = f"holds {len(file.parts)} parts; 1 to {MAX_PARTS} are read: write fewer"
            raise UnreadableMedia(path, reason)
        headers = [dict(part.header) for part in file.parts]
    samples = sum(_checked_samples(path, header) for header in headers)
    num_channels = sum(len(header["channels"]) for header in headers)
    if num_channels > MAX_CHANNELS or samples > MAX_SAMPLES:
        raise UnreadableMedia(
            path,
            f"holds {num_channels} channels of {samples} samples; the limits are {MAX_CHANNELS} "
            f"and {MAX_SAMPLES}: write fewer passes to a file",
        )
    return len(headers)


def _checked_samples(path: Path, header: Mapping[str, Any]) -> int:
    if header["type"] in (OpenEXR.deepscanline, OpenEXR.deeptile):
        raise UnreadableMedia(path, "holds deep data, which is not read; flatten it when writing")
    sizes = []
    for window in ("displayWindow", "dataWindow"):
        (left, top), (right, bottom) = header[window]
        sizes.append((int(right) - int(left) + 1, int(bottom) - int(top) + 1))
        check_size(path, *sizes[-1])
    num_channels = len(header["channels"])
    check_ratio(path, *sizes[-1], 2 * num_channels)
    return num_channels * sizes[-1][0] * sizes[-1][1]


def _layers(path: Path, parts: Any) -> dict[str, ExrLayer]:
    layers: dict[str, ExrLayer] = {}
    for part in parts:
        header = dict(part.header)  # leaving the block empties the library's own
        for name, item in part.channels.items():
            prefix, _, channel = name.rpartition(".")
            layer = prefix or (str(header.get("name", "")) if len(parts) > 1 else "")
            letter = channel.upper() if channel.upper() in _LETTERS else channel
            plane = _full_size(item, header)
            planes = layers.setdefault(layer, ExrLayer(layer, {}, header)).planes
            if letter in planes:
                reason = f"holds the channel {name} twice; write one layer of that name"
                raise UnreadableMedia(path, reason)
            planes[letter] = _in_display_window(plane, header)
    return layers


def _full_size(channel: Any, header: Mapping[str, Any]) -> NDArray[np.float32]:
    """Grow a channel that has fewer samples, as chroma does, to the data window."""
    plane = np.ascontiguousarray(channel.pixels).astype(np.float32)
    if (channel.xSampling, channel.ySampling) == (1, 1):
        return plane
    (left, top), (right, bottom) = header["dataWindow"]
    size = (int(right) - int(left) + 1, int(bottom) - int(top) + 1)
    rows, columns = (np.arange(n, dtype=np.float32) for n in size[::-1])
    x, y = np.meshgrid(columns / channel.xSampling, rows / channel.ySampling)
    grown = cv2.remap(plane, x, y, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
    return np.asarray(grown, np.float32)


def _finite_layer(path: Path, layer: ExrLayer) -> ExrLayer:
    """Check the layer that was chosen alone: passes of vectors or depth may hold NaN."""
    prefix = f"{layer.name}." if layer.name else ""
    planes = {name: _finite(path, prefix + name, plane) for name, plane in layer.planes.items()}
    return replace(layer, planes=planes)


def _finite(path: Path, channel: str, plane: NDArray[np.float32]) -> Pixels:
    """Refuse NaN. Infinity, to which bright half floats overflow, becomes the largest half."""
    count = int(np.isnan(plane).sum())
    if count:
        raise UnreadableMedia(
            path,
            f"holds {count} pixels that are not numbers (NaN) in channel {channel}; render or "
            f"generate that frame again",
        )
    largest = float(np.finfo(np.float16).max)
    return plane.clip(-largest, largest)


def _in_display_window(plane_HW: Pixels, header: Mapping[str, Any]) -> Pixels:
    """Place a data window in the picture, 0 around it (the EXR rule)."""
    (left, top), (right, bottom) = (tuple(map(int, corner)) for corner in header["displayWindow"])
    x, y = (int(v) for v in header["dataWindow"][0])
    x, y = x - left, y - top
    height, width = bottom - top + 1, right - left + 1
    if (y, x, *plane_HW.shape) == (0, 0, height, width):
        return plane_HW
    picture_HW = np.zeros((height, width), np.float32)
    inside = plane_HW[max(-y, 0) :, max(-x, 0) :]
    target = picture_HW[max(y, 0) :, max(x, 0) :]
    rows, columns = np.minimum(inside.shape, target.shape)
    target[:rows, :columns] = inside[:rows, :columns]
    return picture_HW


def choose_layer(path: Path, layers: Mapping[str, ExrLayer], asked: str | None) -> ExrLayer:
    """Find a layer by name, or the renderer's main layer if no name is asked for.

    A name is a layer's, a view layer's (its Combined pass) or that of a group with one layer.
    Without one it is the unnamed RGBA, else Blender's composite, else the only Combined, else the
    only layer with colour.

    Raises:
        UnreadableMedia: There is none, there are several, or it holds NaN.
    """
    found = _default(layers) if not asked else _matching(layers, asked)
    if len(found) == 1:
        return _finite_layer(path, found[0])
    titles = sorted(layer.title for layer in layers.values())
    more = f" and {len(titles) - _MOST_NAMED} more" if len(titles) > _MOST_NAMED else ""
    wanted = f"layer {asked} is not one" if asked else "a layer must be named (`layer: ...`)"
    said = ", ".join(titles[:_MOST_NAMED])
    raise UnreadableMedia(path, f"holds the layers {said}{more}: {wanted}")


def _default(layers: Mapping[str, ExrLayer]) -> list[ExrLayer]:
    if "" in layers and _has_colour(layers[""]):
        return [layers[""]]
    coloured = [layer for layer in layers.values() if _has_colour(layer)]
    combined = [layer for layer in coloured if _pass_of(layer.name) == _COMBINED]
    composite = [layer for layer in combined if layer.name.casefold() == _COMPOSITE]
    return composite or combined or coloured or list(layers.values())


def _matching(layers: Mapping[str, ExrLayer], asked: str) -> list[ExrLayer]:
    wanted = asked.casefold()
    if wanted in ("rgba", "rgb") and "" in layers:
        return [layers[""]]
    exact = [layer for layer in layers.values() if layer.name.casefold() == wanted]
    inside = [layer for layer in layers.values() if _group_of(layer.name) == wanted]
    combined = [layer for layer in inside if layer.name.casefold() == f"{wanted}.{_COMBINED}"]
    return exact or combined or [layer for layer in inside if _has_colour(layer)] or inside


def _group_of(name: str) -> str:
    return name.rpartition(".")[0].casefold()


def _has_colour(layer: ExrLayer) -> bool:
    return {"R", "G", "B"} <= layer.planes.keys() or "Y" in layer.planes


def _pass_of(name: str) -> str:
    return name.rpartition(".")[2].casefold()
