"""EXR of one or many layers, as colour or as data.

Shape letters: H, W, C channels. Colour comes out as float32, display-referred sRGB, RGB straight,
not clipped above 1.
"""

from collections.abc import Mapping
from pathlib import Path

import numpy as np

from layert2v_media.colour import (
    PRIMARIES,
    REC709,
    Chromaticities,
    rec709_matrix,
    to_rec709,
    xyz_matrix,
)
from layert2v_media.errors import UnreadableMedia
from layert2v_media.exr_layers import ExrLayer, choose_layer, read_exr_layers
from layert2v_media.transfer import ALPHA_FLOOR, Pixels, linear_to_srgb
from layert2v_media.turning import square_width, widened

ALPHA_SLACK = 1e-3
"""How far alpha may leave [0, 1] by filtering and half-float rounding before it is an error."""
_ACES_WHITE = (0.32168, 0.33767)
_LINEAR_SPACES: dict[str, Chromaticities] = {
    "lin_rec709_scene": REC709,
    "lin_ap0_scene": (0.7347, 0.2653, 0.0, 1.0, 0.0001, -0.077, *_ACES_WHITE),
    "lin_ap1_scene": (0.713, 0.293, 0.165, 0.830, 0.128, 0.044, *_ACES_WHITE),
    "lin_rec2020_scene": PRIMARIES[9],
    "lin_p3d65_scene": PRIMARIES[12],
    "data": REC709,
    "unknown": REC709,
}
"""Spaces by `colorInteropID`, which some files have, not chromaticities. Source: Color Interop
Forum, recommendation of color space identifiers, 2025; SMPTE ST 2065-1; Academy S-2014-004."""
_MAGIC = b"\x76\x2f\x31\x01"


def is_exr(path: Path) -> bool:
    """Tell an EXR by its first bytes. What cannot be opened is none."""
    try:
        with path.open("rb") as file:
            return file.read(4) == _MAGIC
    except OSError:
        return False


def read_exr(path: Path, layer: str | None = None) -> Pixels:
    """Read a layer as colour: (H, W, 3), or 4 with straight alpha.

    Colour is taken as scene-linear and premultiplied, of the chromaticities in the header, else
    Rec. 709. Luminance and chroma become RGB. Colour under a vanishing alpha is 0.

    Args:
        path: The file.
        layer: A layer, a view layer (its Combined) or a part; None: the unnamed one, or the only.

    Raises:
        UnreadableMedia: Damaged, cut short, too large, deep, without that layer; NaN, or alpha
            outside [0, 1].
    """
    chosen = choose_layer(path, read_exr_layers(path), layer)
    linear_HWC = _rgb(path, chosen)
    linear_HWC = to_rec709(linear_HWC, _chromaticities(path, chosen.header))
    alpha_HW = chosen.planes.get("A")
    if alpha_HW is None:
        return _square(path, linear_to_srgb(linear_HWC), chosen)
    alpha_HW1 = checked_alpha(path, alpha_HW)[..., None]
    straight_HWC = linear_HWC / alpha_HW1.clip(ALPHA_FLOOR, 1) * (alpha_HW1 > ALPHA_FLOOR)
    return _square(path, np.dstack([linear_to_srgb(straight_HWC), alpha_HW1]), chosen)


def read_exr_matte(path: Path, layer: str | None = None) -> Pixels:
    """Read what of a layer may be a matte: (H, W, 1), the mean of its colours, or 2 with alpha.

    Colours are data here. R, G, B or Y count where there are some, else all channels but alpha.

    Raises:
        UnreadableMedia: As `read_exr`.
    """
    chosen = choose_layer(path, read_exr_layers(path), layer)
    alpha = [checked_alpha(path, chosen.planes[name]) for name in "A" if name in chosen.planes]
    others = {name: plane for name, plane in chosen.planes.items() if name != "A"}
    colours = [others[name] for name in "RGBY" if name in others]
    colours = colours or list(others.values()) or alpha
    mean_HW = np.mean(colours, axis=0, dtype=np.float32)
    return _square(path, np.dstack([mean_HW, *alpha]), chosen)


def checked_alpha(path: Path, alpha: Pixels) -> Pixels:
    """Give alpha clipped to [0, 1].

    Raises:
        UnreadableMedia: It leaves [0, 1] by more than `ALPHA_SLACK`.
    """
    low, high = float(alpha.min()), float(alpha.max())
    if low < -ALPHA_SLACK or high > 1 + ALPHA_SLACK:
        reason = f"has alpha from {low:.3g} to {high:.3g}; it must stay in [0, 1]"
        raise UnreadableMedia(path, reason)
    return alpha.clip(0, 1)


def _rgb(path: Path, layer: ExrLayer) -> Pixels:
    planes = layer.planes
    if {"R", "G", "B"} <= planes.keys():
        return np.dstack([planes[name] for name in "RGB"])
    if {"Y", "RY", "BY"} <= planes.keys():
        return _from_luminance(path, layer)
    if "Y" in planes:
        return np.dstack([planes["Y"]] * 3)
    raise UnreadableMedia(
        path,
        f"holds the channels {', '.join(sorted(planes))} in its layer {layer.title}; R, G, B or Y "
        f"are needed: render it with colour",
    )


def _from_luminance(path: Path, layer: ExrLayer) -> Pixels:
    """Make RGB of luminance and chroma: RY = (R - Y) / Y, BY = (B - Y) / Y.

    Source:
        OpenEXR, Technical Introduction, "Luminance/Chroma Images".
    """
    y, ry, by = (layer.planes[name] for name in ("Y", "RY", "BY"))
    weights = xyz_matrix(_chromaticities(path, layer.header))[1]
    red, blue = (ry + 1) * y, (by + 1) * y
    green = (y - weights[0] * red - weights[2] * blue) / weights[1]
    return np.dstack([red, green, blue]).astype(np.float32)


def _chromaticities(path: Path, header: Mapping[str, object]) -> Chromaticities:
    said = header.get("chromaticities")
    if said is None:
        return _by_name(path, str(header.get("colorInteropID", "unknown")))
    try:
        r_x, r_y, g_x, g_y, b_x, b_y, w_x, w_y = map(float, np.asarray(said, np.float64).ravel())
        values = (r_x, r_y, g_x, g_y, b_x, b_y, w_x, w_y)
        rec709_matrix(values)
    except (ValueError, TypeError, np.linalg.LinAlgError) as failure:
        reason = f"says invalid chromaticities ({failure}): correct its header"
        raise UnreadableMedia(path, reason) from failure
    return values


def _by_name(path: Path, name: str) -> Chromaticities:
    if name not in _LINEAR_SPACES:
        known = ", ".join(_LINEAR_SPACES)
        reason = f"says the colour space {name}; read are {known}: convert it to one of these"
        raise UnreadableMedia(path, reason)
    return _LINEAR_SPACES[name]


def _square(path: Path, picture_HWC: Pixels, layer: ExrLayer) -> Pixels:
    height, width = picture_HWC.shape[:2]
    return widened(picture_HWC, square_width(path, width, height, layer.aspect))
