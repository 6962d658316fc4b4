"""Frames of one layer, wherever they are: a movie, a folder of pictures, a layer of EXR pictures.

Shape letters: T frames, H, W, C channels. Out come float32, display-referred sRGB in [0, 1],
RGB straight.
"""

import itertools
import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from fractions import Fraction
from functools import lru_cache
from pathlib import Path
from typing import Any

import av
import numpy as np

from layert2v_model.media import IMAGE_SUFFIXES, MAX_PIXELS, movie_frame
from layert2v_training.clips import Pixels
from layert2v_training.data.pictures import (
    checked_alpha,
    is_opaque,
    matte_planes,
    read_matte_picture,
    read_picture,
)
from layert2v_training.data.problems import BadClip, reading


@dataclass(frozen=True)
class Footage:
    """Where the frames of a layer are."""

    path: Path
    """A movie, or a folder of numbered pictures of one kind."""
    layer: str | None = None
    """Layer of each picture, where they are EXR with several."""

    @property
    def label(self) -> str:
        """How to name it in a message."""
        return self.path.name + (f" ({self.layer})" if self.layer else "")


@dataclass(frozen=True)
class FootageFacts:
    """What is known without decoding every frame."""

    width: int
    height: int
    """Pixels."""
    num_frames: int
    fps: Fraction | None
    """None for pictures, which do not say."""


def probe(footage: Footage) -> FootageFacts:
    """Read sizes and rate: a movie's packets are counted, a folder's first picture is read.

    Raises:
        BadClip: Missing, empty, damaged, cut short, or numbered with gaps.
    """
    if not footage.path.exists():
        raise BadClip(footage.path, "is missing")
    if footage.path.is_dir():
        pictures = list_pictures(footage.path)
        height, width = read_picture(pictures[0], footage.layer).shape[:2]
        return FootageFacts(width, height, len(pictures), None)
    return _probe_movie(footage.path)


def read(footage: Footage, indices: Sequence[int]) -> Pixels:
    """Read frames by index, in any order and as often as named: (T, H, W, 3), or 4 with alpha.

    Alpha is straight. Each frame is decoded once.

    Raises:
        BadClip: A frame is missing, damaged, of another size, or holds NaN or alpha out of range.
    """
    return _repeated(stream(footage, sorted(set(indices))), indices)


def read_matte(footage: Footage, indices: Sequence[int]) -> Pixels:
    """Read frames as alpha (T, H, W): the mean of their colours, or their own alpha.

    Alpha it is where it is not opaque all through the layer, whichever frames are asked for.

    Raises:
        BadClip: As `read`.
    """
    return _repeated(stream_mattes(footage, sorted(set(indices))), indices)


def stream(footage: Footage, indices: Sequence[int]) -> Iterator[Pixels]:
    """Decode frames one after another: (H, W, 3), or 4 with straight alpha.

    Args:
        footage: Where they are.
        indices: Ascending, each once.

    Raises:
        BadClip: As `read`, when the frame is reached.
    """
    if not footage.path.is_dir():
        yield from _alike([footage.path] * len(indices), _movie_frames(footage.path, indices))
        return
    paths = _chosen(footage.path, indices)
    yield from _alike(paths, (read_picture(path, footage.layer).clip(0, 1) for path in paths))


def stream_mattes(footage: Footage, indices: Sequence[int]) -> Iterator[Pixels]:
    """Decode frames one after another as alpha (H, W); arguments and errors as of `stream`."""
    plane = 1 if _is_matte_in_alpha(footage) else 0
    for path, planes_HWC in _matte_planes(footage, indices):
        yield checked_alpha(path, planes_HWC[..., plane])


@lru_cache(maxsize=1 << 16)
def _is_matte_in_alpha(footage: Footage) -> bool:
    """Tell where a layer's matte is: in alpha, where that is not opaque in all of its frames.

    One frame is mostly enough; all are decoded where alpha is opaque, once in a process.
    """
    for _, planes_HWC in _matte_planes(footage, range(probe(footage).num_frames)):
        if planes_HWC.shape[-1] == 1:
            return False
        if not is_opaque(planes_HWC[..., 1]):
            return True
    return False


def _matte_planes(footage: Footage, indices: Sequence[int]) -> Iterator[tuple[Path, Pixels]]:
    """Decode frames as what may be a matte, each with its file."""
    if not footage.path.is_dir():
        for frame in stream(footage, indices):
            yield footage.path, matte_planes(frame)
        return
    paths = _chosen(footage.path, indices)
    planes = (read_matte_picture(path, footage.layer) for path in paths)
    yield from zip(paths, _alike(paths, planes), strict=True)


def _repeated(frames: Iterable[Pixels], indices: Sequence[int]) -> Pixels:
    """Stack frames that come once each, ascending, the way `indices` names them."""
    places = np.unique(indices, return_inverse=True)[1]
    return np.stack(list(frames))[places]


def list_pictures(folder: Path) -> list[Path]:
    """Give a folder's pictures in the order of the number that ends their names.

    Raises:
        BadClip: None, several kinds, or a number missing or twice.
    """
    kinds: dict[str, list[Path]] = {}
    with reading(folder):
        paths = sorted(folder.iterdir())
    for path in paths:
        if path.suffix.lower() in IMAGE_SUFFIXES and not path.name.startswith("."):
            kinds.setdefault(path.suffix.lower(), []).append(path)
    if len(kinds) != 1:
        found = " and ".join(kinds) or "no pictures"
        raise BadClip(folder, f"holds {found}; it should hold frames of one kind")
    numbered = {path: _number(path) for path in next(iter(kinds.values()))}
    ordered = sorted(numbered, key=lambda path: numbered[path])
    for before, after in itertools.pairwise(ordered):
        if numbered[after] != numbered[before] + 1:
            raise BadClip(folder, f"{after.name} follows {before.name}: number without gaps")
    return ordered


def _number(path: Path) -> int:
    digits = re.search(r"(\d+)$", path.stem)
    if digits is None:
        raise BadClip(path, "has no number at the end of its name; frames are numbered")
    return int(digits.group(1))


def _chosen(folder: Path, indices: Sequence[int]) -> list[Path]:
    pictures = list_pictures(folder)
    return [pictures[index] for index in indices]


def _alike(paths: Sequence[Path], frames: Iterable[Pixels]) -> Iterator[Pixels]:
    """Pass frames on while they have the shape of the first."""
    shape: tuple[int, ...] | None = None
    for path, frame in zip(paths, frames, strict=True):
        shape = shape or frame.shape
        if frame.shape != shape:
            shapes = " but ".join("x".join(map(str, s)) for s in (frame.shape, shape))
            raise BadClip(path, f"is {shapes} in {paths[0].name}: one size and kind per layer")
        yield frame


def _probe_movie(path: Path) -> FootageFacts:
    try:
        with av.open(str(path)) as container:
            stream = _video_stream(path, container)
            num_packets = sum(packet.size > 0 for packet in container.demux(stream))
            _check_whole(path, stream, num_packets)
            codec = stream.codec_context
            return FootageFacts(codec.width, codec.height, num_packets, stream.average_rate)
    except (av.error.FFmpegError, OSError) as failure:
        raise BadClip(path, f"cannot be read as a movie ({failure.strerror})") from failure


def _video_stream(path: Path, container: Any) -> Any:
    if not container.streams.video:
        raise BadClip(path, "has no video stream: it is cut short, or no movie")
    stream = container.streams.video[0]
    width, height = stream.codec_context.width, stream.codec_context.height
    if not 0 < width * height <= MAX_PIXELS:
        raise BadClip(path, f"says {width} x {height}; the limit is {MAX_PIXELS} pixels")
    return stream


def _check_whole(path: Path, stream: Any, num_packets: int) -> None:
    """Compare the frames there are with those the header promises."""
    promised = stream.frames
    if not promised and stream.container.duration and stream.average_rate:  # Matroska
        promised = round(stream.container.duration / av.time_base * stream.average_rate) - 1
    if num_packets == 0 or num_packets < promised:
        raise BadClip(path, f"is cut short: {num_packets} of {promised} frames; export it again")


def _movie_frames(path: Path, indices: Sequence[int]) -> Iterator[Pixels]:
    wanted, found = set(indices), 0
    try:
        with av.open(str(path)) as container:
            stream = _video_stream(path, container)
            for number, frame in enumerate(container.decode(stream)):
                if frame.is_corrupt:
                    raise BadClip(path, f"frame {number} is damaged; export it again")
                if number in wanted:
                    found += 1
                    yield movie_frame(frame)
                if found == len(wanted):
                    return
    except (av.error.FFmpegError, OSError) as failure:
        reason = f"is damaged near frame {found} ({failure.strerror}); export it again"
        raise BadClip(path, reason) from failure
    raise BadClip(path, f"frame {sorted(wanted)[found]} cannot be decoded; export it again")
