"""Limits of files, checked from headers before anything is decoded."""

from fractions import Fraction
from pathlib import Path

from layert2v_media.errors import UnreadableMedia

MAX_PIXELS = 1 << 26
"""Pixels of one picture, 8192 x 8192. A damaged header may ask for more memory than exists."""
MAX_SAMPLES = 1 << 30
"""Samples of all channels of one EXR: 4 GiB as float32."""
MAX_CHANNELS = 1024
MAX_PARTS = 256
"""Channels of one EXR. A render with every pass and Cryptomatte has some hundred."""
MAX_FRAMES = 1 << 20
"""Frames of one movie or sequence: ten hours at 29.97 frames a second."""
MAX_SECONDS = 24 * 3600
MAX_HELD_PIXELS = 1 << 30
"""Pixels of a layer held whole: 16 GiB as float32 with alpha, 517 frames of 1920 x 1080."""
LARGE_PIXELS = 1 << 24
MAX_RATIO = 4096
"""Bytes of samples to a byte of file, for pictures above `LARGE_PIXELS` (4096 x 4096). Deflate
reaches 1032. Below that size a flat picture may be as small as it likes."""


def check_size(path: Path, width: int, height: int) -> None:
    """Refuse a size that no picture has.

    Raises:
        UnreadableMedia: It is empty or above `MAX_PIXELS`.
    """
    if width < 1 or height < 1 or width * height > MAX_PIXELS:
        raise UnreadableMedia(
            path,
            f"says it is {width} x {height}; the limit is {MAX_PIXELS} pixels: scale it down, or "
            f"write it again if that is wrong",
        )


def check_ratio(path: Path, width: int, height: int, bytes_per_pixel: int) -> None:
    """Refuse a large picture that a few bytes of file claim.

    Raises:
        UnreadableMedia: It would unpack to over `MAX_RATIO` times its file.
    """
    unpacked = width * height * bytes_per_pixel
    held = max(path.stat().st_size, 1)
    if width * height > LARGE_PIXELS and unpacked > MAX_RATIO * held:
        raise UnreadableMedia(
            path,
            f"says it is {width} x {height} in {held} bytes, over {MAX_RATIO} times smaller than "
            f"its pixels: it is damaged, or made to fill memory; write it again",
        )


def check_length(path: Path, num_frames: int, seconds: Fraction | float | None) -> None:
    """Refuse a movie or a sequence that is too long.

    Raises:
        UnreadableMedia: It has more than `MAX_FRAMES`, or lasts longer than `MAX_SECONDS`.
    """
    if num_frames > MAX_FRAMES:
        reason = f"has {num_frames} frames; the limit is {MAX_FRAMES}: cut it into shorter pieces"
        raise UnreadableMedia(path, reason)
    if seconds is not None and seconds > MAX_SECONDS:
        reason = f"lasts {float(seconds):.0f} s; the limit is {MAX_SECONDS}: cut it into pieces"
        raise UnreadableMedia(path, reason)


def check_held(path: Path, num_frames: int, width: int, height: int) -> None:
    """Refuse a layer that is too large to be held whole.

    Raises:
        UnreadableMedia: It has more than `MAX_HELD_PIXELS` in all.
    """
    if num_frames * width * height > MAX_HELD_PIXELS:
        most = MAX_HELD_PIXELS // (width * height)
        raise UnreadableMedia(
            path,
            f"has {num_frames} frames of {width} x {height}; at most {most} of that size are held "
            f"at once: use a shorter piece, or scale it down",
        )
