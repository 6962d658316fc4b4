"""Single pictures: EXR of one or many layers, PNG and JPEG.

Shape letters: H, W, C channels. Out come float32, display-referred sRGB, RGB straight, not clipped.
"""

from pathlib import Path
from typing import Any

import cv2
import numpy as np
import OpenEXR
from numpy.typing import NDArray

from layert2v_model.media import ALPHA_FLOOR, MAX_PIXELS, linear_to_srgb
from layert2v_training.clips import Pixels
from layert2v_training.data.problems import BadClip, reading

ALPHA_SLACK = 1e-3
"""How far alpha may leave [0, 1] by filtering and half-float rounding before it is an error."""
_ENDS = {".png": b"IEND", ".jpg": b"\xff\xd9", ".jpeg": b"\xff\xd9"}
"""What the last bytes of a whole file hold; decoders fill the rest of one cut short with grey."""


def read_picture(path: Path, layer: str | None) -> Pixels:
    """Read a picture's colour, and its alpha where it has one: (H, W, 3 or 4).

    EXR is taken as scene-linear Rec. 709, premultiplied; everything else as straight sRGB.

    Args:
        path: The file.
        layer: Layer of an EXR; None for a file that has one.

    Raises:
        BadClip: Damaged, cut short, too large, without that layer; NaN, alpha outside [0, 1].
    """
    if path.suffix.lower() != ".exr":
        return _read_coded(path)
    planes = _layer_planes(path, layer)
    names = "RGB" if "R" in planes else "YYY"
    if any(name not in planes for name in names):
        raise BadClip(path, f"holds channels {', '.join(sorted(planes))}; R, G, B or Y are needed")
    linear_HWC = np.dstack([planes[name] for name in names])
    if "A" not in planes:
        return linear_to_srgb(linear_HWC)
    alpha_HW = checked_alpha(path, planes["A"])
    visible_HW1 = (alpha_HW > ALPHA_FLOOR)[..., None]
    straight_HWC = linear_HWC / alpha_HW[..., None].clip(ALPHA_FLOOR, 1) * visible_HW1
    return np.dstack([linear_to_srgb(straight_HWC), alpha_HW])


def read_matte_picture(path: Path, layer: str | None) -> Pixels:
    """Read what of a picture may be a matte: (H, W, 1), the mean of its colours, or 2 with alpha.

    Colours of an EXR matte are data: they are not turned into sRGB. Its R, G, B or Y count where
    it has them, else all channels but alpha.

    Raises:
        BadClip: As `read_picture`; alpha is not looked at (`checked_alpha`).
    """
    if path.suffix.lower() != ".exr":
        return matte_planes(_read_coded(path))
    planes = _layer_planes(path, layer)
    alpha = [planes[name] for name in ("A",) if name in planes]
    others = {name: plane for name, plane in planes.items() if name != "A"}
    colours = [others[name] for name in ("R", "G", "B", "Y") if name in others]
    colours = colours or list(others.values()) or alpha
    mean_HW = np.mean(colours, axis=0, dtype=np.float32)
    return np.dstack([mean_HW, *alpha])


def matte_planes(picture_HWC: Pixels) -> Pixels:
    """Give the mean of a picture's colours, and its alpha where it has one: (H, W, 1 or 2)."""
    mean_HW = picture_HWC[..., :3].mean(-1, dtype=np.float32)
    return np.dstack([mean_HW, picture_HWC[..., 3:]])


def is_opaque(alpha: Pixels) -> bool:
    """Tell whether alpha is 1 everywhere, but for rounding: then it says nothing."""
    return bool(alpha.min() >= 1 - ALPHA_SLACK)


def checked_alpha(path: Path, alpha: Pixels) -> Pixels:
    """Give alpha clipped to [0, 1].

    Raises:
        BadClip: It leaves [0, 1] by more than `ALPHA_SLACK`.
    """
    low, high = float(alpha.min()), float(alpha.max())
    if low < -ALPHA_SLACK or high > 1 + ALPHA_SLACK:
        raise BadClip(path, f"alpha goes from {low:.3g} to {high:.3g}; it must stay in [0, 1]")
    return alpha.clip(0, 1)


def _read_coded(path: Path) -> Pixels:
    with reading(path):
        encoded = path.read_bytes()
    codes = None
    if _ENDS[path.suffix.lower()] in encoded[-64:]:
        codes = cv2.imdecode(np.frombuffer(encoded, np.uint8), cv2.IMREAD_UNCHANGED)
    if codes is None or codes.dtype not in (np.uint8, np.uint16):
        raise BadClip(path, "is not a picture, or damaged or cut short; write it again")
    values = codes.astype(np.float32) / np.float32(np.iinfo(codes.dtype).max)
    if values.ndim == 2:
        return np.repeat(values[..., None], 3, axis=2)
    rgb_HWC = values[..., 2::-1]
    return np.dstack([rgb_HWC, values[..., 3]]) if values.shape[2] == 4 else rgb_HWC


def _layer_planes(path: Path, layer: str | None) -> dict[str, Pixels]:
    """Channels R, G, B, A, Y of one layer, in the display window; finite."""
    layers = _exr_layers(path)
    if layer is None and len(layers) == 1:
        chosen = next(iter(layers))
    else:
        matching = [name for name in layers if layer in (name, name.split(".")[0])]
        if len(matching) != 1:
            wanted = "a layer must be named" if layer is None else f"layer {layer} is not one"
            raise BadClip(path, f"holds the layers {', '.join(sorted(layers))}: {wanted}")
        chosen = matching[0]
    for channel, plane in layers[chosen].items():
        if not np.isfinite(plane).all():
            raise BadClip(
                path, f"layer {chosen or 'RGBA'}, channel {channel} holds NaN or infinity"
            )
    return layers[chosen]


def _exr_layers(path: Path) -> dict[str, dict[str, Pixels]]:
    """All layers of all parts: the part's name, or the channels' prefix, to channel to plane."""
    layers: dict[str, dict[str, Pixels]] = {}
    try:
        with OpenEXR.File(str(path), header_only=True) as file:
            for part in file.parts:
                _check_size(path, dict(part.header))
        with OpenEXR.File(str(path), separate_channels=True) as file:
            for part in file.parts:
                header = dict(part.header)  # leaving the block empties the library's own
                for name, item in part.channels.items():
                    prefix, _, channel = name.rpartition(".")
                    layer = prefix or (str(header.get("name", "")) if len(file.parts) > 1 else "")
                    plane = _in_display_window(item.pixels.astype(np.float32), header)
                    layers.setdefault(layer, {})[channel] = plane
    except (RuntimeError, ValueError, OSError) as failure:
        if isinstance(failure, BadClip):
            raise
        raise BadClip(path, "cannot be read as EXR: damaged or cut short") from failure
    if not layers:  # the library leaves out parts that are cut short, without an error
        raise BadClip(path, "is damaged or cut short: it holds no whole part; write it again")
    return layers


def _check_size(path: Path, header: dict[str, Any]) -> None:
    for window in ("displayWindow", "dataWindow"):
        (left, top), (right, bottom) = header[window]
        width, height = int(right) - int(left) + 1, int(bottom) - int(top) + 1
        if width < 1 or height < 1 or width * height > MAX_PIXELS:
            raise BadClip(path, f"says {width} x {height}; the limit is {MAX_PIXELS} pixels")


def _in_display_window(plane_HW: NDArray[np.float32], header: dict[str, Any]) -> Pixels:
    """Place a cropped data window in the picture, 0 around it (the EXR rule)."""
    (left, top), (right, bottom) = (tuple(map(int, corner)) for corner in header["displayWindow"])
    x, y = (int(v) for v in header["dataWindow"][0])
    x, y = x - left, y - top
    picture_HW = np.zeros((bottom - top + 1, right - left + 1), np.float32)
    if picture_HW.shape == plane_HW.shape and (x, y) == (0, 0):
        return plane_HW
    inside = plane_HW[max(-y, 0) :, max(-x, 0) :]
    target = picture_HW[max(y, 0) :, max(x, 0) :]
    rows, columns = np.minimum(inside.shape, target.shape)
    target[:rows, :columns] = inside[:rows, :columns]
    return picture_HW
