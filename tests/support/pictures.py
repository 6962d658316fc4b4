"""8-bit pictures for tests: PNG with zlib and numpy only, a flattened stack and simple layers."""

import struct
import zlib

import numpy as np


def png_bytes(pixels: np.ndarray) -> bytes:
    """Encode uint8 (H, W) grey, (H, W, 3) RGB or (H, W, 4) straight RGBA as PNG."""
    height, width = pixels.shape[:2]
    colour_type = {1: 0, 3: 2, 4: 6}[1 if pixels.ndim == 2 else pixels.shape[2]]
    rows = np.ascontiguousarray(pixels).reshape(height, -1)
    raw = np.concatenate([np.zeros((height, 1), np.uint8), rows], axis=1).tobytes()
    header = struct.pack(">IIBBBBB", width, height, 8, colour_type, 0, 0, 0)
    chunks = ((b"IHDR", header), (b"IDAT", zlib.compress(raw, 4)), (b"IEND", b""))
    return b"\x89PNG\r\n\x1a\n" + b"".join(_chunk(*chunk) for chunk in chunks)


def _chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def read_png(data: bytes) -> np.ndarray:
    """Decode an 8-bit PNG that Blender wrote (RGB or RGBA, no interlace) to uint8 (H, W, C)."""
    position, body, width, height, channels = 8, b"", 0, 0, 0
    while position < len(data):
        length, kind = struct.unpack(">I4s", data[position : position + 8])
        content = data[position + 8 : position + 8 + length]
        if kind == b"IHDR":
            width, height, _, colour_type = struct.unpack(">IIBB", content[:10])
            channels = {0: 1, 2: 3, 6: 4}[colour_type]
        elif kind == b"IDAT":
            body += content
        position += length + 12
    rows = np.frombuffer(zlib.decompress(body), np.uint8).reshape(height, width * channels + 1)
    return _unfilter(rows, channels).reshape(height, width, channels)


def _unfilter(rows: np.ndarray, channels: int) -> np.ndarray:
    height, length = rows.shape[0], rows.shape[1] - 1
    out = np.zeros((height + 1, length + channels), np.int64)
    for y in range(height):
        kind, line = rows[y, 0], rows[y, 1:]
        for x in range(length):
            left, above = out[y + 1, x], out[y, x + channels]
            out[y + 1, x + channels] = (line[x] + _predict(kind, left, above, out[y, x])) & 0xFF
    return out[1:, channels:].astype(np.uint8)


def _predict(kind: int, left: int, above: int, corner: int) -> int:
    if kind == 0:
        return 0
    if kind in (1, 2):
        return (left, above)[kind - 1]
    if kind == 3:
        return (left + above) // 2
    guess = left + above - corner
    return min((left, above, corner), key=lambda value: abs(guess - value))


def flatten(background: np.ndarray, foregrounds: list[np.ndarray]) -> np.ndarray:
    """Composite straight 8-bit layers in sRGB, in float64. Give rounded uint8 (H, W, 3)."""
    composite = background[..., :3] / 255.0
    for layer in foregrounds:
        alpha = layer[..., 3:] / 255.0
        composite = layer[..., :3] / 255.0 * alpha + composite * (1 - alpha)
    return np.round(composite * 255).astype(np.uint8)


def background_frame(seed: int, frame: int, width: int, height: int) -> np.ndarray:
    """Draw a coloured gradient that drifts with the frame, as uint8 (H, W, 3)."""
    random = np.random.default_rng(seed)
    x = np.linspace(0, 1, width)[None, :, None]
    y = np.linspace(0, 1, height)[:, None, None]
    low, high = random.random(3), random.random(3)
    picture = low * (1 - x) + high * x * (0.5 + 0.5 * y) + 0.01 * frame
    return np.round(np.clip(picture, 0, 1) * 255).astype(np.uint8)


def foreground_frame(seed: int, frame: int, width: int, height: int) -> np.ndarray:
    """Draw a soft-edged disc, its lower half at 60 %, as straight uint8 (H, W, 4)."""
    random = np.random.default_rng(seed)
    centre_x = width * random.uniform(0.3, 0.7) + frame
    centre_y = height * random.uniform(0.4, 0.6)
    y, x = np.mgrid[0:height, 0:width]
    distance = np.hypot(x - centre_x, y - centre_y)
    alpha = np.clip((height * 0.3 - distance) / 6 + 0.5, 0, 1)
    alpha = np.where(y > centre_y, alpha * 0.6, alpha)
    colour = np.broadcast_to(random.random(3), (height, width, 3))
    return np.round(np.dstack([colour, alpha]) * 255).astype(np.uint8)
