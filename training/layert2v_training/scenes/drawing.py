"""Pictures loaded, cropped and drawn at subpixel places, without aliases.

Pixels are float32 sRGB in [0, 1], (H, W, C). RGBA is premultiplied.
"""

from pathlib import Path

import cv2
import numpy as np
from PIL import Image

from layert2v_training.data.clips import Pixels


def crop(picture: Pixels, left: float, top: float, scale: float, width: int, height: int) -> Pixels:
    """Crop (height, width, C) at (left, top), with `scale` pixels of the picture to one of it."""
    matrix = np.array([[scale, 0, left + scale / 2 - 0.5], [0, scale, top + scale / 2 - 0.5]])
    flags = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
    return np.asarray(cv2.warpAffine(picture, matrix, (width, height), flags=flags), np.float32)


def without_aliases(picture: Pixels, scale: float) -> Pixels:
    """Blur to the Nyquist rate of what is sampled every `scale` pixels."""
    blurred = cv2.GaussianBlur(picture, (0, 0), 0.4 * scale) if scale > 1.2 else picture
    return np.asarray(blurred, np.float32)


def draw(sprite: Pixels, x: float, y: float, size: float, width: int, height: int) -> Pixels:
    """Draw a premultiplied RGBA sprite, `size` pixels high, centred at (x, y): (H, W, 4)."""
    scale = sprite.shape[0] / size
    blurred = without_aliases(sprite, scale)
    left, top = x - sprite.shape[1] / scale / 2, y - size / 2
    matrix = np.array(
        [[scale, 0, -left * scale + scale / 2 - 0.5], [0, scale, -top * scale + scale / 2 - 0.5]]
    )
    flags = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
    drawn = cv2.warpAffine(blurred, matrix, (width, height), flags=flags)
    return np.clip(np.asarray(drawn, np.float32), 0, 1)


def load_rgb(path: Path) -> Pixels:
    """Load a picture as RGB."""
    return np.asarray(Image.open(path).convert("RGB"), np.float32) / 255


def load_sprite(path: Path) -> Pixels:
    """Load a sprite as premultiplied RGBA, padded so that blurring does not clip its edge."""
    rgba = np.asarray(Image.open(path).convert("RGBA"), np.float32) / 255
    rgba[..., :3] *= rgba[..., 3:]
    return np.pad(rgba, ((8, 8), (8, 8), (0, 0)))
