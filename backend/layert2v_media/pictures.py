"""Single pictures that are coded: PNG, JPEG, WebP and TIFF of 8 or 16 bits.

Shape letters: H, W, C channels. Out come float32, sRGB in [0, 1], RGB straight.
"""

import io
import struct
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from fractions import Fraction
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image, UnidentifiedImageError

from layert2v_media.colour import Colour, to_rec709, to_srgb
from layert2v_media.errors import UnreadableMedia
from layert2v_media.icc import from_profile
from layert2v_media.limits import check_ratio, check_size
from layert2v_media.transfer import Pixels, gamma_to_linear, linear_to_srgb
from layert2v_media.turning import exif_turn, square_width, turned, turned_size, widened

_FORMATS = ("PNG", "JPEG", "WEBP", "TIFF")
"""What Pillow may open. JPEG opens MPO too, with more pictures behind it, as phones write: the
first one counts."""
_ORIENTATION, _BITS, _SAMPLE_FORMAT, _EXTRA_SAMPLES = 274, 258, 339, 338
_PHOTOMETRIC, _PLANES = 262, 284
"""Tags of TIFF and EXIF. Source: TIFF 6.0, 8."""
_DEFLATE_RATIO = 1032
"""Bytes that a byte of PNG can unpack to. Source: zlib, technical details."""
_ASSOCIATED = 1
"""Extra samples of this value are alpha by which colours are multiplied. Source: TIFF 6.0, 18."""


def read_coded(path: Path, *, as_data: bool = False) -> Pixels:
    """Read a picture as people see it: (H, W, 3), or 4 with straight alpha.

    Args:
        path: The file. Its content says what it is, not its suffix.
        as_data: Leave code values as they are, for mattes: no profile or curve is applied.

    Raises:
        UnreadableMedia: It is damaged, cut short, too large, or of a kind that is not read.
    """
    with _opened(path) as picture:
        _check_kind(path, picture)
        codes = _codes(path, picture)
        values_HWC = _channels(codes)
        if not as_data:
            values_HWC[..., :3] = _coloured(path, picture, values_HWC[..., :3])
        if values_HWC.shape[2] == 4 and _is_associated(picture) and codes.dtype == np.uint16:
            values_HWC[..., :3] /= values_HWC[..., 3:].clip(1 / 65535)
        width = square_width(path, *picture.size, _aspect(picture))
        upright = turned(widened(values_HWC, width), exif_turn(path, _orientation(picture)))
        return upright.clip(0, 1)


def coded_size(path: Path) -> tuple[int, int]:
    """Give width and height as `read_coded` would, from the header alone.

    Raises:
        UnreadableMedia: As `read_coded`, as far as the header tells.
    """
    with _opened(path) as picture:
        _check_kind(path, picture)
        width = square_width(path, *picture.size, _aspect(picture))
        return turned_size(width, picture.height, exif_turn(path, _orientation(picture)))


@contextmanager
def _opened(path: Path) -> Iterator[Image.Image]:
    """Open a picture. Whatever the library says of its content becomes `UnreadableMedia`."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of Pillow, about sizes and odd tags
            with Image.open(path, formats=_FORMATS) as picture:
                check_size(path, *picture.size)
                yield picture
    except (UnidentifiedImageError, Image.DecompressionBombError) as failure:
        reason = "is not a PNG, JPEG, WebP or TIFF, or its beginning is damaged: write it again"
        raise UnreadableMedia(path, reason) from failure
    except MemoryError as failure:
        raise UnreadableMedia(path, "needs more memory than is free: scale it down") from failure
    except OSError as failure:
        if failure.errno is not None:
            reason = f"cannot be read ({failure.strerror}); check the name and who may read it"
        else:
            reason = "is damaged or cut short; write it again"
        raise UnreadableMedia(path, reason) from failure
    except (SyntaxError, ValueError, KeyError, TypeError, struct.error, cv2.error,
            OverflowError, EOFError, IndexError, AttributeError) as failure:  # fmt: skip
        # Pillow says damage in all of these ways.
        if isinstance(failure, UnreadableMedia):
            raise
        raise UnreadableMedia(path, "is damaged or cut short; write it again") from failure


def _check_kind(path: Path, picture: Image.Image) -> None:
    """Refuse what is not one picture of grey or RGB."""
    check_ratio(path, *picture.size, 8 if _bits(path, picture) == 16 else 4)
    if picture.format == "PNG" and _is_impossible(path, picture):
        raise UnreadableMedia(path, "is damaged or cut short; write it again")
    count = getattr(picture, "n_frames", 1)
    if count > 1 and picture.format != "MPO":
        raise UnreadableMedia(path, f"holds {count} pictures; write one picture to a file")
    if picture.mode in ("CMYK", "LAB", "YCCK"):
        raise UnreadableMedia(path, f"has {picture.mode} colours; convert it to RGB")
    if picture.mode == "F" or _tag(picture, _SAMPLE_FORMAT) == 3:
        raise UnreadableMedia(path, "holds floating point numbers; write it as EXR")
    if _bits(path, picture) not in (1, 2, 4, 8, 16):
        reason = f"has {_bits(path, picture)} bits a channel; 8 and 16 are read: write it again"
        raise UnreadableMedia(path, reason)


def _bits(path: Path, picture: Image.Image) -> int:
    """Bits of a channel, by the header."""
    if picture.format == "PNG":
        return _png_bits(path)
    bits = _tag(picture, _BITS)
    return int(bits) if bits else 8


def _png_bits(path: Path) -> int:
    """Bits in IHDR: Pillow gives 16-bit RGB as 8."""
    with path.open("rb") as file:
        head = file.read(25)
    return head[24] if len(head) == 25 else 0


def _is_impossible(path: Path, picture: Image.Image) -> bool:
    """Tell whether a PNG is too small to hold its pixels, even of one channel."""
    bits = picture.width * picture.height * _png_bits(path)
    return bits > 8 * _DEFLATE_RATIO * path.stat().st_size


def _tag(picture: Image.Image, number: int) -> int | None:
    """The first value of a TIFF tag; None in other files and without it."""
    tags = getattr(picture, "tag_v2", None)
    value = tags.get(number) if tags is not None else None
    first = next(iter(value), None) if isinstance(value, tuple) else value
    return first if isinstance(first, int) else None


def _codes(path: Path, picture: Image.Image) -> NDArray[np.uint8] | NDArray[np.uint16]:
    """Code values (H, W) or (H, W, C), RGB order, 8 or 16 bits."""
    bits = _bits(path, picture)
    clear = picture.info.get("transparency")
    if bits == 16:
        deep = _deep_codes(path, picture)
        return _with_clear(deep, clear) if deep.ndim == 2 and isinstance(clear, int) else deep
    if picture.mode in ("1", "L"):
        grey = np.asarray(picture.convert("L"))
        return _with_clear(grey, _of_eight_bits(clear, bits)) if isinstance(clear, int) else grey
    if picture.mode == "La":  # multiplied by alpha; Pillow divides on the way to LA
        picture = picture.convert("LA")
    return np.asarray(picture.convert("RGBA" if picture.has_transparency_data else "RGB"))


def _deep_codes(path: Path, picture: Image.Image) -> NDArray[np.uint16]:
    """Code values of 16 bits by OpenCV, since Pillow keeps those of grey alone."""
    if _tag(picture, _PLANES) == 2:  # OpenCV reads the first plane and what lies behind it
        reason = "has 16 bits with a plane for each colour; write it with pixels in one plane"
        raise UnreadableMedia(path, reason)
    if picture.format == "TIFF" and (_tag(picture, _ORIENTATION) or 1) > 4:
        raise UnreadableMedia(
            path, "has 16 bits and is turned by its orientation; write it upright"
        )
    picture.copy().load()  # raises where the file is cut short. OpenCV fills with black
    deep = cv2.imdecode(np.fromfile(path, np.uint8), cv2.IMREAD_UNCHANGED)
    if deep is None or deep.dtype != np.uint16 or deep.shape[:2] != picture.size[::-1]:
        reason = "has 16 bits in a form that is not read; write it as 16-bit RGB or RGBA PNG"
        raise UnreadableMedia(path, reason)
    codes = np.asarray(deep, np.uint16)
    if _tag(picture, _PHOTOMETRIC) == 0:  # zero is white
        codes = np.invert(codes)
    return codes if codes.ndim == 2 else codes[..., [2, 1, 0, 3][: codes.shape[2]]]


def _of_eight_bits(clear: int, bits: int) -> int:
    """Scale the clear grey of a PNG as Pillow scales its samples, which it has done for 1 bit."""
    return clear if bits == 1 else clear * 255 // (2**bits - 1)


def _with_clear(
    grey_HW: NDArray[np.uint8] | NDArray[np.uint16], clear: int
) -> NDArray[np.uint8] | NDArray[np.uint16]:
    """Add alpha to grey of which one value is clear: (H, W, 4)."""
    alpha_HW = np.where(grey_HW == clear, 0, np.iinfo(grey_HW.dtype).max).astype(grey_HW.dtype)
    return np.dstack([grey_HW, grey_HW, grey_HW, alpha_HW])  # type: ignore[return-value]


def _channels(codes: NDArray[np.uint8] | NDArray[np.uint16]) -> Pixels:
    values = codes.astype(np.float32) / np.float32(np.iinfo(codes.dtype).max)
    return np.repeat(values[..., None], 3, axis=2) if values.ndim == 2 else values


def _is_associated(picture: Image.Image) -> bool:
    return _tag(picture, _EXTRA_SAMPLES) == _ASSOCIATED


def _coloured(path: Path, picture: Image.Image, codes_HWC: Pixels) -> Pixels:
    """Code values as sRGB, by the strongest of what a file says: cICP, profile, sRGB, gamma."""
    cicp = _png_chunk(path, b"cICP") if picture.format == "PNG" else None
    if cicp is not None and len(cicp) == 4:
        return _by_code_points(path, codes_HWC, cicp)
    icc = picture.info.get("icc_profile")
    if icc:
        return from_profile(path, codes_HWC, icc)
    if picture.format == "PNG" and "srgb" not in picture.info:
        return _by_gamma(path, codes_HWC, picture)
    return codes_HWC


def _by_code_points(path: Path, codes_HWC: Pixels, cicp: bytes) -> Pixels:
    primaries, transfer, matrix, full = cicp
    if matrix != 0:
        raise UnreadableMedia(path, f"says the matrix {matrix} in cICP; PNG holds RGB: correct it")
    if not full:
        codes_HWC = ((codes_HWC * 255 - 16) / 219).clip(0, 1).astype(np.float32)
    return to_srgb(path, codes_HWC, Colour(transfer, primaries))


def _by_gamma(path: Path, codes_HWC: Pixels, picture: Image.Image) -> Pixels:
    """Honour gAMA and cHRM. A gamma of 1 / 2.2 is what programs write for sRGB."""
    gamma = float(picture.info.get("gamma") or 1 / 2.2)
    chromaticities = picture.info.get("chromaticity")
    is_usual = abs(gamma - 1 / 2.2) < 0.01
    if not 0.1 <= gamma <= 10:
        raise UnreadableMedia(path, f"says a gamma of {gamma:.4g}; correct it, or write it again")
    if chromaticities is None and is_usual:
        return codes_HWC
    if is_usual:
        linear_HWC = gamma_to_linear(codes_HWC, 2.2)
    else:
        linear_HWC = gamma_to_linear(codes_HWC, 1 / gamma)
    if chromaticities is not None:
        white, colours = tuple(chromaticities[:2]), tuple(chromaticities[2:8])
        same = linear_HWC
        linear_HWC = to_rec709(linear_HWC, (*colours, *white))
        if is_usual and linear_HWC is same:
            return codes_HWC
    if is_usual:
        return np.power(linear_HWC.clip(0, 1), np.float32(1 / 2.2))
    return linear_to_srgb(linear_HWC.clip(0, 1))


def _png_chunk(path: Path, name: bytes) -> bytes | None:
    """Find a chunk before the pixels."""
    with path.open("rb") as file:
        file.seek(8)
        while len(head := file.read(8)) == 8:
            size, found = struct.unpack(">I4s", head)
            if found == name:
                return file.read(min(size, 64))
            if found in (b"IDAT", b"IEND"):
                return None
            file.seek(size + 4, io.SEEK_CUR)
    return None


def _orientation(picture: Image.Image) -> int:
    if picture.format == "TIFF":  # Pillow and OpenCV have turned it, its size too
        return 1
    value = picture.getexif().get(_ORIENTATION, 1)
    return value if isinstance(value, int) and value != 0 else 1


def _aspect(picture: Image.Image) -> Fraction:
    """Width over height of a pixel: by pHYs of PNG, and the density of JFIF, EXIF or TIFF."""
    across, down = picture.info.get("aspect") or picture.info.get("dpi") or (0, 0)
    if picture.info.get("jfif_unit") == 0:  # a ratio, not pixels an inch
        down, across = picture.info.get("jfif_density", (0, 0))
    if not (across > 0 and down > 0 and 0.1 <= down / across <= 10):
        return Fraction(1)
    ratio = Fraction(float(down / across)).limit_denominator(1000)
    # Densities are whole numbers: 72 against 71 is no anamorphic picture.
    return ratio if abs(ratio - 1) > Fraction(2, 100) else Fraction(1)
