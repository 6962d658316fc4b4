"""Frames of movies, turned, square and in sRGB. Shape letters: H, W, C channels."""

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

from layert2v_media.colour import Colour, to_srgb
from layert2v_media.errors import UnreadableMedia
from layert2v_media.movie_files import decoded, opened
from layert2v_media.movie_index import MovieIndex, index_of
from layert2v_media.planes import rgb_of
from layert2v_media.transfer import Pixels
from layert2v_media.turning import turned, widened


def stream_movie(path: Path, indices: Sequence[int], *, as_data: bool = False) -> Iterator[Pixels]:
    """Decode frames one after another: (H, W, 3), or 4 where the movie has alpha.

    Args:
        path: The movie.
        indices: Frames from 0, ascending, each once.
        as_data: Leave code values as they are, for mattes: no transfer or primaries are applied.

    Raises:
        UnreadableMedia: It cannot be read, or a frame is missing or damaged.
    """
    index = index_of(path)
    wanted = list(indices)
    found = 0
    with opened(path) as (container, stream):
        frames = decoded(path, container, stream)
        for number, frame in _numbered(path, frames, index):
            if found == len(wanted):
                return
            if number == wanted[found]:
                found += 1
                yield shown(path, frame, index, as_data=as_data)
    if found < len(wanted):
        reason = f"lacks frame {wanted[found]}, which cannot be decoded; export it again"
        raise UnreadableMedia(path, reason)


def stream_shown(path: Path) -> Iterator[Callable[[], Pixels]]:
    """Decode every frame of a movie. Each is turned to pixels when it is called.

    Raises:
        UnreadableMedia: As `stream_movie`; also when a frame is called.
    """
    index = index_of(path)
    count = 0
    with opened(path) as (container, stream):
        for number, frame in _numbered(path, decoded(path, container, stream), index):
            if number != count:
                reason = f"lacks frame {count}, which cannot be decoded; export it again"
                raise UnreadableMedia(path, reason)
            count += 1
            yield lambda frame=frame: shown(path, frame, index)  # type: ignore[misc]
    if count != index.num_frames:
        reason = f"lacks frame {count}, which cannot be decoded; export it again"
        raise UnreadableMedia(path, reason)


def _numbered(path: Path, frames: Iterator[Any], index: MovieIndex) -> Iterator[tuple[int, Any]]:
    """Number frames by their time stamps, or as they come where they have none."""
    if index.stamps is None:
        yield from enumerate(frames)
        return
    numbers = {stamp: number for number, stamp in enumerate(index.stamps)}
    for frame in frames:
        if frame.pts not in numbers:
            reason = f"shows a frame at {frame.pts}, where it has no packet; export it again"
            raise UnreadableMedia(path, reason)
        yield numbers[frame.pts], frame


def shown(path: Path, frame: Any, index: MovieIndex, *, as_data: bool = False) -> Pixels:
    """Give a decoded frame as people see it.

    Raises:
        UnreadableMedia: Its colours are of a kind that is not known, or its size has changed.
    """
    pixels_HWC = rgb_of(path, frame)
    if not as_data:
        colour = Colour(frame.color_trc, frame.color_primaries)
        pixels_HWC[..., :3] = to_srgb(path, pixels_HWC[..., :3], colour)
    upright = turned(widened(pixels_HWC, index.coded_width), index.turn)
    if upright.shape[:2] != (index.height, index.width):
        reason = f"changes its size to {frame.width} x {frame.height}; export it with one size"
        raise UnreadableMedia(path, reason)
    return upright.clip(0, 1)
