"""Decoded frames of movies to numbers: R'G'B' of full range, and alpha.

FFmpeg's own conversion is off by two codes of 255 and knows neither every matrix nor every range,
so it is done here, from the planes. Shape letters: H, W, C channels.
"""

from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from layert2v_media.errors import UnreadableMedia
from layert2v_media.transfer import Pixels

_UNSAID_MATRIX, _RGB_MATRIX, _YCGCO = 2, 0, 8
_LUMA = {1: (0.2126, 0.0722), 4: (0.30, 0.11), 5: (0.299, 0.114), 6: (0.299, 0.114),
         7: (0.212, 0.087), 9: (0.2627, 0.0593)}  # fmt: skip
"""Weights of red and blue in luma, by matrix. Source: ITU-T H.273 (07/2021), table 4."""
_MATRIX_NAMES = {10: "BT.2020 with constant luminance", 11: "SMPTE 2085", 14: "ICtCp"}
_LIMITED, _FULL = 1, 2
_HD_HEIGHT, _HD_WIDTH = 720, 1280
"""Size from which video that states no matrix is BT.709. Below it is BT.601, as in players."""
_PLANAR = {
    "nv12": "yuv420p", "nv21": "yuv420p", "nv16": "yuv422p", "nv24": "yuv444p",
    "yuyv422": "yuv422p", "uyvy422": "yuv422p", "yvyu422": "yuv422p", "uyyvyy411": "yuv411p",
    "p010le": "yuv420p10le", "p016le": "yuv420p16le", "p210le": "yuv422p10le",
    "y210le": "yuv422p10le", "ayuv64le": "yuva444p16le", "vuya": "yuva444p", "vuyx": "yuv444p",
    "xv30le": "yuv444p10le", "xv36le": "yuv444p12le", "ya8": "rgba", "ya16le": "rgba64le",
    "ya16be": "rgba64le",
}  # fmt: skip
"""Formats that mix planes, to one with the same numbers in planes of their own."""


def has_alpha(frame: Any) -> bool:
    """Tell whether a frame has alpha."""
    return any(component.is_alpha for component in frame.format.components)


def rgb_of(path: Path, frame: Any) -> Pixels:
    """Give a decoded frame of PyAV as (H, W, 3), or 4 with alpha, as coded but for its range.

    Raises:
        UnreadableMedia: Its matrix or pixel format is not known.
    """
    if frame.format.name in _PLANAR:
        frame = frame.reformat(format=_PLANAR[frame.format.name])
    if _is_packed_rgb(frame):
        return _packed(path, frame)
    planes = _planes(path, frame)
    colours, alpha = planes[: _num_colours(frame)], planes[_num_colours(frame) :]
    if frame.format.is_rgb:
        rgb = _ranged_rgb(frame, np.dstack(colours))
    elif len(colours) == 1:
        rgb = np.dstack([_luma(frame, colours[0])] * 3)
    else:
        rgb = _from_yuv(path, frame, colours)
    return np.dstack([rgb, *alpha]).clip(0, 1).astype(np.float32, copy=False)


def _is_packed_rgb(frame: Any) -> bool:
    pixels = frame.format
    is_one_plane = len({component.plane for component in pixels.components}) == 1
    return pixels.has_palette or (pixels.is_rgb and is_one_plane)


def _num_colours(frame: Any) -> int:
    return sum(not component.is_alpha for component in frame.format.components)


def _packed(path: Path, frame: Any) -> Pixels:
    is_deep = max(component.bits for component in frame.format.components) > 8
    with_alpha = has_alpha(frame) or frame.format.name == "pal8"
    deep, shallow = ("rgba64le", "rgba") if with_alpha else ("rgb48le", "rgb24")
    codes = frame.to_ndarray(format=deep if is_deep else shallow)
    values = codes.astype(np.float32) / np.float32(np.iinfo(codes.dtype).max)
    values[..., :3] = _ranged_rgb(frame, values[..., :3])
    return values


def _ranged_rgb(frame: Any, rgb: Pixels) -> Pixels:
    """Stretch RGB that says it is of limited range."""
    if frame.color_range != _LIMITED or frame.format.name.startswith("gbrpf"):
        return rgb
    return ((rgb * 255 - 16) / 219).clip(0, 1).astype(np.float32)


def _planes(path: Path, frame: Any) -> list[NDArray[np.float32]]:
    """Code values of every component, in the order Y, U, V, A or R, G, B, A.

    Those of RGB and alpha are in [0, 1]. The others are codes as they are.
    """
    name = frame.format.name
    if name.endswith("be"):
        frame = frame.reformat(format=f"{name[:-2]}le")
    is_float = "f32" in name or "f16" in name
    found = []
    for component in frame.format.components:
        dtype = _dtype(name, component.bits, is_float=is_float)
        plane = frame.planes[component.plane]
        rows = np.frombuffer(plane, dtype).reshape(plane.height, -1)
        if rows.shape[1] < component.width:
            raise UnreadableMedia(path, f"has the pixel format {name}, which is not read; convert "
                                        f"it, for example to ProRes 4444")  # fmt: skip
        values = rows[: component.height, : component.width].astype(np.float32)
        is_share = (component.is_alpha or frame.format.is_rgb) and not is_float
        found.append(values / np.float32(2**component.bits - 1) if is_share else values)
    return found


def _dtype(name: str, bits: int, *, is_float: bool) -> str:
    if is_float:
        return "<f4" if "f32" in name else "<f2"
    return "u1" if bits <= 8 else "<u2"


def _is_full(frame: Any) -> bool:
    if frame.color_range in (_LIMITED, _FULL):
        return bool(frame.color_range == _FULL)
    return frame.format.name.startswith(("yuvj", "gray"))


def _luma(frame: Any, codes: Pixels) -> Pixels:
    bits = frame.format.components[0].bits
    if "f32" in frame.format.name or "f16" in frame.format.name:
        return codes
    if _is_full(frame):
        return codes / np.float32(2**bits - 1)
    return (codes - np.float32(16 << (bits - 8))) / np.float32(219 << (bits - 8))


def _chroma(frame: Any, codes: Pixels) -> Pixels:
    """Colour differences in [-.5, .5], one for each pixel."""
    bits = frame.format.components[1].bits
    span = 2**bits - 1 if _is_full(frame) else 224 << (bits - 8)
    values = (codes - np.float32(128 << (bits - 8))) / np.float32(span)
    if values.shape == (frame.height, frame.width):
        return values
    rows, columns = values.shape  # of odd sizes the last sample lies half outside
    size = (columns * round(frame.width / columns), rows * round(frame.height / rows))
    grown = cv2.resize(values, size, interpolation=cv2.INTER_LINEAR)
    return np.asarray(grown[: frame.height, : frame.width], np.float32)


def _from_yuv(path: Path, frame: Any, planes: list[Pixels]) -> Pixels:
    y = _luma(frame, planes[0])
    u, v = (_chroma(frame, plane) for plane in planes[1:3])
    matrix = frame.colorspace
    if matrix in (_UNSAID_MATRIX, _RGB_MATRIX):
        is_hd = frame.height >= _HD_HEIGHT or frame.width >= _HD_WIDTH
        matrix = 1 if is_hd else 5
    if matrix == _YCGCO:  # U is the green difference, V the orange one
        return np.dstack([y - u + v, y + u, y - u - v])
    if matrix not in _LUMA:
        said = _MATRIX_NAMES.get(matrix, f"number {matrix} of H.273")
        raise UnreadableMedia(path, f"has the colour matrix {said}: convert it to BT.709")
    red, blue = _LUMA[matrix]
    r, b = y + np.float32(2 - 2 * red) * v, y + np.float32(2 - 2 * blue) * u
    g = (y - np.float32(red) * r - np.float32(blue) * b) / np.float32(1 - red - blue)
    return np.dstack([r, g, b])
