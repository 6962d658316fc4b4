"""Frames of one layer, wherever they are: a movie, a folder of pictures, a layer of EXR pictures.

Shape letters: T frames, H, W, C channels. Out come float32, display-referred sRGB in [0, 1],
RGB straight.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from enum import Enum
from fractions import Fraction
from functools import lru_cache
from pathlib import Path

import numpy as np

from layert2v_media.errors import UnreadableMedia
from layert2v_media.exr import (
    ALPHA_SLACK,
    checked_alpha,
    is_exr,
    read_exr,
    read_exr_matte,
)
from layert2v_media.exr_layers import exr_size
from layert2v_media.kinds import pictures_in
from layert2v_media.limits import check_held, check_length
from layert2v_media.movie_index import index_of
from layert2v_media.movies import stream_movie
from layert2v_media.numbering import ordered
from layert2v_media.pictures import coded_size, read_coded
from layert2v_media.transfer import Pixels

_PREMULTIPLIED_FLOOR = 1.0 / 255.0
"""Alpha under which a premultiplied 8-bit colour says nothing."""


class AlphaForm(Enum):
    """How files relate colours to alpha. Frames come out straight in any case."""

    SAID = "said"
    """EXR is premultiplied, TIFF has a field."""
    USUAL = "usual"
    """PNG and WebP are straight by their standards, but some programs write them otherwise."""
    UNSAID = "unsaid"
    """Movies do not say their alpha's form. They count as straight."""


@dataclass(frozen=True)
class Footage:
    """The place of a layer's frames."""

    path: Path
    """A movie, or a folder of numbered pictures of one kind."""
    layer: str | None = None
    """Layer of each picture, where they are EXR with several."""
    is_premultiplied: bool = False
    """Colours of a movie or of PNG are multiplied by their alpha, as people say of them. EXR and
    TIFF say it themselves."""

    @property
    def label(self) -> str:
        """The footage's name in a message."""
        return self.path.name + (f" ({self.layer})" if self.layer else "")


@dataclass(frozen=True)
class FootageFacts:
    """Facts that are known without decoding every frame."""

    width: int
    height: int
    """Pixels, as people see it."""
    num_frames: int
    fps: Fraction | None
    """None for pictures, which do not say; the mean where the rate varies."""
    times: tuple[Fraction, ...] | None = None
    """Seconds of each frame from the first where the rate varies, else None."""
    alpha_form: AlphaForm = AlphaForm.UNSAID


def probe(footage: Footage) -> FootageFacts:
    """Read sizes, number and times of frames: a movie's packets, a folder's names and first header.

    Raises:
        UnreadableMedia: Missing, empty, damaged, cut short, numbered with gaps, beyond a limit.
    """
    path = footage.path
    if not path.exists():
        is_link = path.is_symlink()
        raise UnreadableMedia(path, "is a link to nothing; link it again" if is_link
                              else "is missing; check the name")  # fmt: skip
    if path.is_dir():
        pictures = list_pictures(path)
        check_length(path, len(pictures), None)
        size = exr_size(pictures[0]) if _as_exr(pictures[0]) else coded_size(pictures[0])
        form = _alpha_form(pictures[0])
        return FootageFacts(*size, len(pictures), None, alpha_form=form)
    index = index_of(path)
    return FootageFacts(index.width, index.height, index.num_frames, index.fps, index.times)


def _alpha_form(picture: Path) -> AlphaForm:
    is_said = _as_exr(picture) or picture.suffix.lower() in (".tif", ".tiff")
    return AlphaForm.SAID if is_said else AlphaForm.USUAL


def list_pictures(folder: Path) -> list[Path]:
    """Give a folder's pictures in the order of their numbers.

    Raises:
        UnreadableMedia: None, several kinds, without a number, or a number missing or twice.
    """
    return ordered(folder, pictures_in(folder))


def read(footage: Footage, indices: Sequence[int] | None = None) -> Pixels:
    """Read frames by index, in any order and as often as named: (T, H, W, 3), or 4 with alpha.

    Alpha is straight. Each frame is decoded once. Without indices all frames are read.

    Raises:
        UnreadableMedia: A frame is missing, damaged, of another size, holds NaN or alpha out of
            range; or all frames are more than can be held.
    """
    chosen = _all_of(footage) if indices is None else indices
    return _repeated(stream(footage, sorted(set(chosen))), chosen)


def read_matte(footage: Footage, indices: Sequence[int] | None = None) -> Pixels:
    """Read frames as alpha (T, H, W): the mean of their colours, or their own alpha.

    Alpha counts where it is not opaque in all of the layer's frames, even those not asked for.

    Raises:
        UnreadableMedia: As `read`.
    """
    chosen = _all_of(footage) if indices is None else indices
    return _repeated(stream_mattes(footage, sorted(set(chosen))), chosen)


def _all_of(footage: Footage) -> range:
    facts = probe(footage)
    check_held(footage.path, facts.num_frames, facts.width, facts.height)
    return range(facts.num_frames)


def stream(footage: Footage, indices: Sequence[int]) -> Iterator[Pixels]:
    """Decode frames one after another: (H, W, 3), or 4 with straight alpha.

    Args:
        footage: Place of the frames.
        indices: Ascending, each once.

    Raises:
        UnreadableMedia: As `read`, when the frame is reached.
    """
    for path, frame in _alike(_colours(footage, indices)):
        is_multiplied = footage.is_premultiplied and not (
            footage.path.is_dir() and _alpha_form(path) is AlphaForm.SAID
        )
        yield straight(frame) if is_multiplied else frame


def _colours(footage: Footage, indices: Sequence[int]) -> Iterator[tuple[Path, Pixels]]:
    if not footage.path.is_dir():
        for frame in stream_movie(footage.path, indices):
            yield footage.path, frame
        return
    for path in _chosen(footage.path, indices):
        yield path, read_picture(path, footage.layer).clip(0, 1)


def read_picture(path: Path, layer: str | None = None) -> Pixels:
    """Read a picture of any kind as colour: (H, W, 3), or 4 with straight alpha.

    Raises:
        UnreadableMedia: As `exr.read_exr` and `pictures.read_coded`.
    """
    return read_exr(path, layer) if _as_exr(path) else read_coded(path)


def _as_exr(path: Path) -> bool:
    """Tell whether to read a picture as EXR: by its first bytes, or by its name."""
    return is_exr(path) or path.suffix.lower() == ".exr"


def straight(frame_HWC: Pixels) -> Pixels:
    """Divide the colours of a frame by its alpha, where it has one."""
    if frame_HWC.shape[-1] < 4:
        return frame_HWC
    alpha_HW1 = frame_HWC[..., 3:]
    rgb_HWC = frame_HWC[..., :3] / alpha_HW1.clip(_PREMULTIPLIED_FLOOR)
    return np.concatenate([rgb_HWC.clip(0, 1), alpha_HW1], -1)


def stream_mattes(footage: Footage, indices: Sequence[int]) -> Iterator[Pixels]:
    """Decode frames one after another as alpha (H, W); arguments and errors as of `stream`."""
    plane = 1 if is_matte_in_alpha(footage) else 0
    for path, planes_HWC in _matte_planes(footage, indices):
        yield checked_alpha(path, planes_HWC[..., plane])


def is_matte_in_alpha(footage: Footage) -> bool:
    """Tell where a layer's matte is: in alpha, where that is not opaque in all of its frames.

    One frame is mostly enough. All are decoded where alpha is opaque, once in a process.

    Raises:
        UnreadableMedia: As `read`.
    """
    return _is_in_alpha(footage, _stamp(footage.path))


def _stamp(path: Path) -> tuple[tuple[str, int, int], ...]:
    """Change with the files of a footage."""
    files = sorted(path.iterdir()) if path.is_dir() else [path]
    stats = [(file.name, file.stat()) for file in files if file.exists()]
    return tuple((name, stat.st_size, stat.st_mtime_ns) for name, stat in stats)


@lru_cache(maxsize=1 << 12)
def _is_in_alpha(footage: Footage, _stamp: tuple[tuple[str, int, int], ...]) -> bool:
    for _, planes_HWC in _matte_planes(footage, range(probe(footage).num_frames)):
        if planes_HWC.shape[-1] == 1:
            return False
        if planes_HWC[..., 1].min() < 1 - ALPHA_SLACK:
            return True
    return False


def _matte_planes(footage: Footage, indices: Sequence[int]) -> Iterator[tuple[Path, Pixels]]:
    """Decode frames as what may be a matte, each with its file: (H, W, 1 or 2)."""
    yield from _alike(_all_matte_planes(footage, indices))


def _all_matte_planes(footage: Footage, indices: Sequence[int]) -> Iterator[tuple[Path, Pixels]]:
    if not footage.path.is_dir():
        for frame in stream_movie(footage.path, indices, as_data=True):
            yield footage.path, _mean_and_alpha(frame)
        return
    for path in _chosen(footage.path, indices):
        if _as_exr(path):
            yield path, read_exr_matte(path, footage.layer)
        else:
            yield path, _mean_and_alpha(read_coded(path, as_data=True))


def _mean_and_alpha(picture_HWC: Pixels) -> Pixels:
    mean_HW = picture_HWC[..., :3].mean(-1, dtype=np.float32)
    return np.dstack([mean_HW, picture_HWC[..., 3:]])


def _chosen(folder: Path, indices: Sequence[int]) -> list[Path]:
    pictures = list_pictures(folder)
    return [pictures[index] for index in indices]


def _alike(frames: Iterable[tuple[Path, Pixels]]) -> Iterator[tuple[Path, Pixels]]:
    """Pass frames on while they have the shape of the first."""
    first: tuple[Path, tuple[int, ...]] | None = None
    for path, frame in frames:
        first = first or (path, frame.shape)
        if frame.shape != first[1]:
            raise UnreadableMedia(
                path,
                f"is {_described(frame.shape)} but {first[0].name} is {_described(first[1])}: all "
                f"frames of a layer have one size and the same channels",
            )
        yield path, frame


def _described(shape: tuple[int, ...]) -> str:
    return f"{shape[1]} x {shape[0]}, {shape[2]} channels"


def _repeated(frames: Iterable[Pixels], indices: Sequence[int]) -> Pixels:
    """Stack frames that come once each, ascending, the way `indices` names them."""
    places = np.unique(indices, return_inverse=True)[1]
    return np.stack(list(frames))[places]
