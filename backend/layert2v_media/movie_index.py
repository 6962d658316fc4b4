"""The times and the turn of a movie's frames, mostly found without decoding all of it."""

import itertools
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from fractions import Fraction
from functools import lru_cache
from pathlib import Path
from typing import Any

from av.sidedata.sidedata import Type as SideData

from layert2v_media.errors import UnreadableMedia
from layert2v_media.limits import check_length
from layert2v_media.movie_files import PacketDecoder, opened
from layert2v_media.planes import has_alpha
from layert2v_media.turning import Turn, matrix_turn, square_width, turned_size

_BY_PACKETS = ("h264", "hevc", "prores", "ffv1", "mjpeg", "png", "qtrle", "vp9", "av1", "dnxhd",
               "rawvideo", "cfhd", "utvideo", "mpeg4", "libdav1d")  # fmt: skip
"""Codecs that show one frame for each packet. VP8 hides some, so it is decoded to be counted."""
_BY_STAMPS = ("mov", "matroska")
"""Containers that give each packet the time at which its frame is shown."""
_TICK = Fraction(1, 1000)
"""Matroska rounds times to it."""
_RATES = tuple(Fraction(rate) for rate in (24, 25, 30, 50, 60, 8, 12, 15, 16, 48, 120)) + tuple(
    Fraction(rate * 1000, 1001) for rate in (24, 30, 60, 120)
)


@dataclass(frozen=True)
class MovieIndex:
    """Facts about a movie without its pixels."""

    width: int
    height: int
    """Size in pixels as people see it: turned, with square pixels."""
    coded_width: int
    """Size with square pixels, before it is turned."""
    turn: Turn
    stamps: tuple[int, ...] | None
    """Time stamps of the frames in the stream's units, ascending; None: frames are counted."""
    num_frames: int
    times: tuple[Fraction, ...] | None
    """Seconds of each frame from the first, where the rate varies."""
    fps: Fraction | None
    """Frames a second: the rate, or the mean of a variable one; None for a single frame."""
    has_alpha: bool

    def time(self, number: int) -> Fraction:
        """Seconds from the first frame to another."""
        if self.times is not None:
            return self.times[number]
        return number / self.fps if self.fps else Fraction(0)


def index_of(path: Path) -> MovieIndex:
    """Index a movie, once as long as the file does not change.

    Raises:
        UnreadableMedia: It cannot be read, or has no frames.
    """
    try:
        stat = path.stat()
    except OSError as failure:
        reason = f"cannot be read ({failure.strerror}); check the name and who may read it"
        raise UnreadableMedia(path, reason) from failure
    return _indexed(path, stat.st_size, stat.st_mtime_ns)


@lru_cache(maxsize=1 << 10)
def _indexed(path: Path, _size: int, _changed: int) -> MovieIndex:
    with opened(path) as (container, stream):
        facts = _Facts(
            stream.time_base,
            (stream.average_rate, stream.guessed_rate, stream.base_rate),
            _sane(stream.sample_aspect_ratio),
        )
        is_fast = stream.codec_context.name in _BY_PACKETS and any(
            name in container.format.name for name in _BY_STAMPS
        )
        first, packets, frames = _scanned(path, container, stream, all_frames=not is_fast)
    stamps = _stamps_of_packets(packets) if is_fast else None
    if stamps is None and is_fast:
        with opened(path) as (container, stream):
            _, _, frames = _scanned(path, container, stream, all_frames=True)
    found = _stamps_of_frames(frames, facts) if stamps is None else stamps
    check_length(path, len(found), (found[-1] - found[0]) * facts.unit)
    times, fps = _timed(found, facts)
    turn = _turn_of(path, first)
    width = square_width(path, first.width, first.height, facts.aspect)
    return MovieIndex(
        *turned_size(width, first.height, turn), width, turn,
        None if stamps is None else tuple(stamps), len(found), times, fps, has_alpha(first),
    )  # fmt: skip


@dataclass(frozen=True)
class _Facts:
    unit: Fraction
    """Seconds of a time stamp."""
    rates: tuple[Fraction | None, ...]
    """The rates that the file and FFmpeg state, the best first."""
    aspect: Fraction


def _scanned(
    path: Path, container: Any, stream: Any, *, all_frames: bool
) -> tuple[Any, list[int | None], list[int | None]]:
    """Give the first frame, the stamps of the packets that are shown, and those of frames."""
    first, decoder = None, PacketDecoder(path, stream)
    packets: list[int | None] = []
    frames: list[int | None] = []
    for packet in container.demux(stream):
        if packet.size and not packet.is_discard:
            packets.append(packet.pts)
        if first is not None and not all_frames:
            continue
        for frame in decoder.frames(packet):
            first = first or frame
            frames.append(frame.pts)
    if first is None:
        raise UnreadableMedia(path, "has no frames; export it again")
    return first, packets, frames


def _sane(aspect: Fraction | None) -> Fraction:
    return aspect if aspect and Fraction(1, 10) <= aspect <= 10 else Fraction(1)


def _turn_of(path: Path, frame: Any) -> Turn:
    for k in range(len(frame.side_data)):
        data = frame.side_data[k]
        if data.type == SideData.DISPLAYMATRIX:
            return matrix_turn(path, bytes(data))
    return (0, False)


def _stamps_of_packets(packets: Sequence[int | None]) -> list[int] | None:
    """Give the stamps of frames by their packets; None where these do not say, or repeat."""
    known = sorted(stamp for stamp in packets if stamp is not None)
    is_told = len(known) == len(packets) == len(set(known))
    return known if is_told else None


def _stamps_of_frames(frames: Sequence[int | None], facts: _Facts) -> list[int]:
    """Give the stamps of decoded frames; where they do not ascend, those of the rate."""
    told = [stamp for stamp in frames if stamp is not None]
    if len(told) == len(frames) and all(one < two for one, two in itertools.pairwise(told)):
        return told
    rate = next((rate for rate in facts.rates if rate), Fraction(25))
    return [round(k / rate / facts.unit) for k in range(len(frames))]


def _timed(
    stamps: Sequence[int], facts: _Facts
) -> tuple[tuple[Fraction, ...] | None, Fraction | None]:
    """Give times from the first frame, or None where one rate says them; and the rate."""
    if len(stamps) == 1:
        return None, next((rate for rate in facts.rates if rate), None)
    times = tuple((stamp - stamps[0]) * facts.unit for stamp in stamps)
    mean = Fraction(len(times) - 1) / times[-1]
    for rate in _candidates(facts.rates, mean):
        slack = min(max(facts.unit, _TICK), 1 / rate / 3)
        if all(abs(time - k / rate) <= slack for k, time in enumerate(times)):
            return None, rate
    return times, mean.limit_denominator(1001)


def _candidates(rates: Sequence[Fraction | None], mean: Fraction) -> Iterator[Fraction]:
    yield from (rate for rate in rates if rate)
    yield from _RATES
    if rounded := mean.limit_denominator(1001):
        yield rounded
