"""Pixels to files: EXR masters, PNG for the timeline, mattes, movies. No torch, no gRPC.

`layert2v_media` reads them back.

Shape letters: T frames, H, W, C channels. In memory pixels are float32, display-referred sRGB, RGB
straight, alpha in [0, 1]; each function says what its file holds. Whatever is written appears
under its name complete or not at all.
"""

import errno
import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from fractions import Fraction
from pathlib import Path

import av
import cv2
import numpy as np
import OpenEXR
from numpy.typing import NDArray

from layert2v_media.colour import REC709
from layert2v_media.transfer import Pixels, srgb_to_linear

_PNG_COMPRESSION = 3
"""1280x720 noise, 2 cores, November 2026: level 3 takes 0.11 s, 6 takes 0.12 s and saves 2 %."""


@contextmanager
def _published(path: Path) -> Iterator[Path]:
    """Give a temporary name beside `path`. Rename it to `path` on success, remove it on failure."""
    draft = path.with_name(f".{path.stem}.{os.getpid()}-{threading.get_ident()}{path.suffix}")
    try:
        yield draft
        os.replace(draft, path)
    finally:
        draft.unlink(missing_ok=True)


def write_exr(path: Path, rgb_HWC: Pixels, alpha_HW: Pixels | None = None) -> None:
    """Write one frame as a master: half, ZIP, scene-linear Rec. 709, atomically.

    Args:
        path: Place at which the file appears, complete or not at all; its folder exists.
        rgb_HWC: Straight sRGB, (H, W, 3), float32.
        alpha_HW: Alpha in [0, 1]. The file is then RGBA, **premultiplied**. Without it, RGB.

    Raises:
        OSError: The file cannot be written. A full disk is `errno.ENOSPC`.
    """
    linear_HWC = srgb_to_linear(np.ascontiguousarray(rgb_HWC, dtype=np.float32))
    if alpha_HW is not None:
        linear_HWC = np.dstack([linear_HWC * alpha_HW[..., None], alpha_HW])
    header = {
        "compression": OpenEXR.ZIP_COMPRESSION,
        "type": OpenEXR.scanlineimage,
        "chromaticities": REC709,
    }
    channels = {"RGB" if alpha_HW is None else "RGBA": linear_HWC.astype(np.float16)}
    with _published(path) as draft:
        try:
            with OpenEXR.File(header, channels) as file:
                file.write(str(draft))
        except RuntimeError as failure:
            raise _os_error(failure, path) from failure


def _os_error(failure: RuntimeError, path: Path) -> OSError:
    """The library's text, which ends with the system's words, as the error the system meant."""
    codes = (code for code in errno.errorcode if os.strerror(code) in str(failure))
    code = next(codes, errno.EIO)
    return OSError(code, os.strerror(code), str(path))


def to_8_bit(pixels: Pixels) -> NDArray[np.uint8]:
    """Round [0, 1] to code values 0 to 255, clipped."""
    return (pixels.clip(0, 1) * np.float32(255) + np.float32(0.5)).astype(np.uint8)


def write_png(path: Path, rgb_HWC: Pixels, alpha_HW: Pixels | None = None) -> None:
    """Write one frame for the timeline: 8-bit sRGB, RGBA **straight** or RGB, atomically.

    Raises:
        OSError: The file cannot be written. A full disk is `errno.ENOSPC`.
    """
    bgr = to_8_bit(rgb_HWC[..., ::-1])
    _write_png(path, bgr if alpha_HW is None else np.dstack([bgr, to_8_bit(alpha_HW)]))


def write_matte_png(path: Path, alpha_HW: Pixels) -> None:
    """Write alpha as a matte: 8-bit grey, code value 255 * alpha, atomically.

    Raises:
        OSError: The file cannot be written. A full disk is `errno.ENOSPC`.
    """
    _write_png(path, to_8_bit(alpha_HW))


def _write_png(path: Path, codes: NDArray[np.uint8]) -> None:
    options = [cv2.IMWRITE_PNG_COMPRESSION, _PNG_COMPRESSION]
    encoded = cv2.imencode(".png", np.ascontiguousarray(codes), options)[1]
    with _published(path) as draft:
        draft.write_bytes(encoded.tobytes())


def write_movie(path: Path, rgb_THWC: Pixels, fps: Fraction) -> None:
    """Write a preview movie: H.264, 8-bit, (T, H, W, 3) sRGB, no alpha, atomically.

    Raises:
        OSError: The file cannot be written. A full disk is `errno.ENOSPC`.
    """
    height, width = rgb_THWC.shape[1:3]
    options = {"movflags": "faststart"} if path.suffix.lower() in (".mp4", ".mov") else {}
    with _published(path) as draft, av.open(str(draft), "w", options=options) as container:
        stream = container.add_stream("libx264", rate=fps, options={"crf": "14"})
        stream.width, stream.height = width, height
        stream.pix_fmt = "yuv420p" if width % 2 == height % 2 == 0 else "yuv444p"
        for rgb_HWC in rgb_THWC:
            picture = np.ascontiguousarray(to_8_bit(rgb_HWC))
            container.mux(stream.encode(av.VideoFrame.from_ndarray(picture, format="rgb24")))
        container.mux(stream.encode(None))
