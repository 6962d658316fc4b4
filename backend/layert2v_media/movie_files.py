"""Movies opened safely: from a file only, by listed demuxers, on the stream that is the picture."""

from collections.abc import Iterator
from contextlib import contextmanager
from fractions import Fraction
from pathlib import Path
from typing import Any

import av

from layert2v_media.containers import check_whole
from layert2v_media.cropping import check_uncropped
from layert2v_media.errors import UnreadableMedia
from layert2v_media.limits import check_length, check_size

DEMUXERS = ("mov", "mp4", "m4a", "3gp", "3g2", "mj2", "matroska", "webm", "avi", "mxf")
"""Those that FFmpeg may open: no playlists, no concat, nothing that names other files."""
_OPTIONS = {"protocol_whitelist": "file", "format_whitelist": ",".join(DEMUXERS)}
_ALPHA_DECODERS = {"vp8": "libvpx", "vp9": "libvpx-vp9"}
"""FFmpeg's own decoders drop the alpha of these."""


@contextmanager
def opened(path: Path) -> Iterator[tuple[Any, Any]]:
    """Open a movie: its container and its picture's stream.

    Raises:
        UnreadableMedia: Missing, cut short, of another kind, beyond a limit, without picture; and
            whatever FFmpeg says while it is open.
    """
    try:
        check_whole(path)
        with av.open(f"file:{path}", options=_OPTIONS) as container:
            stream = _picture_of(path, container)
            codec = stream.codec_context
            check_size(path, codec.width, codec.height)
            check_uncropped(path, codec.width, codec.height)
            seconds = container.duration and Fraction(container.duration, av.time_base)
            check_length(path, stream.frames, seconds)
            yield container, stream
    except (av.error.FFmpegError, OSError, ValueError, MemoryError) as failure:
        if isinstance(failure, UnreadableMedia):
            raise
        if isinstance(failure, FileNotFoundError | PermissionError):
            reason = f"cannot be read ({failure.strerror}); check the name and who may read it"
        else:
            reason = "cannot be read as a movie: it is damaged or of a kind that is not read; " \
                     "export it again"  # fmt: skip
        raise UnreadableMedia(path, reason) from failure


def _picture_of(path: Path, container: Any) -> Any:
    """Choose the video stream. Cover art does not count. Among several, the default counts."""
    streams = [s for s in container.streams.video if not s.disposition & _ATTACHED]
    if not streams:
        reason = "has no video stream: it holds sound or a cover only; export it with picture"
        raise UnreadableMedia(path, reason)
    if len(streams) > 1:
        marked = [stream for stream in streams if stream.disposition & _DEFAULT]
        if len(marked) != 1:
            reason = f"has {len(streams)} video streams; export it with one"
            raise UnreadableMedia(path, reason)
        streams = marked
    stream = streams[0]
    if stream.codec_context is None:
        raise UnreadableMedia(path, "has a codec that is not known; export it as H.264 or ProRes")
    return stream


_ATTACHED = av.stream.Disposition.attached_pic
_DEFAULT = av.stream.Disposition.default


class PacketDecoder:
    """Turns the packets of a picture's stream into the frames that are shown, in order."""

    def __init__(self, path: Path, stream: Any) -> None:
        self._path, self._own, self._count = path, _alpha_decoder(stream), 0

    def frames(self, packet: Any) -> Iterator[Any]:
        """Give the frames that a packet completes. An empty packet gives all that are left.

        Raises:
            UnreadableMedia: The packet or a frame is damaged, or a frame is interlaced.
        """
        if packet.is_corrupt:
            reason = f"is damaged after frame {self._count}; export it again"
            raise UnreadableMedia(self._path, reason)
        if self._own is None:
            found = packet.decode()
        else:
            found = self._own.decode(packet if packet.size else None)
        for frame in found:
            self._check(frame)
            self._count += 1
            yield frame

    def _check(self, frame: Any) -> None:
        if frame.is_corrupt:
            reason = f"is damaged in frame {self._count}; export it again"
            raise UnreadableMedia(self._path, reason)
        if frame.interlaced_frame:
            reason = "is interlaced; make it progressive (such as `ffmpeg -vf bwdif`)"
            raise UnreadableMedia(self._path, reason)
        check_size(self._path, frame.width, frame.height)


def decoded(path: Path, container: Any, stream: Any) -> Iterator[Any]:
    """Decode all frames that are shown, in order.

    Raises:
        UnreadableMedia: A frame is damaged or interlaced.
    """
    decoder = PacketDecoder(path, stream)
    for packet in container.demux(stream):
        yield from decoder.frames(packet)


def _alpha_decoder(stream: Any) -> Any | None:
    """Make the decoder that keeps the alpha of VP8 and VP9, where the stream says it has some."""
    said = {key.lower(): value for key, value in stream.metadata.items()}.get("alpha_mode", "0")
    name = _ALPHA_DECODERS.get(stream.codec_context.name)
    return av.CodecContext.create(name, "r") if name and said.strip() != "0" else None
