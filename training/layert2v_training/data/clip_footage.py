"""Footage as `layert2v_media` reads it. What that refuses is a `BadClip` here."""

from collections.abc import Callable, Iterator, Sequence

from layert2v_media import footage as media
from layert2v_media.footage import AlphaForm, Footage, FootageFacts
from layert2v_media.transfer import Pixels
from layert2v_training.data.problems import reading

__all__ = ["AlphaForm", "Footage", "FootageFacts", "probe", "read", "read_matte", "stream",
           "stream_mattes"]  # fmt: skip


def probe(footage: Footage) -> FootageFacts:
    """Read sizes, number and times of frames, as `layert2v_media.footage.probe`.

    Raises:
        BadClip: Missing, empty, damaged, cut short, beyond a limit, or numbered with gaps.
    """
    with reading(footage.path):
        return media.probe(footage)


def read(footage: Footage, indices: Sequence[int]) -> Pixels:
    """Read frames by index, as `layert2v_media.footage.read`.

    Raises:
        BadClip: A frame is missing, damaged, of another size, or holds NaN or alpha out of range.
    """
    with reading(footage.path):
        return media.read(footage, indices)


def read_matte(footage: Footage, indices: Sequence[int]) -> Pixels:
    """Read frames as alpha, as `layert2v_media.footage.read_matte`.

    Raises:
        BadClip: As `read`.
    """
    with reading(footage.path):
        return media.read_matte(footage, indices)


def stream(footage: Footage, indices: Sequence[int]) -> Iterator[Pixels]:
    """Decode frames one after another, as `layert2v_media.footage.stream`.

    Raises:
        BadClip: As `read`, when the frame is reached.
    """
    return _streamed(media.stream, footage, indices)


def stream_mattes(footage: Footage, indices: Sequence[int]) -> Iterator[Pixels]:
    """Decode frames one after another as alpha; arguments and errors as of `stream`."""
    return _streamed(media.stream_mattes, footage, indices)


def _streamed(
    decode: Callable[[Footage, Sequence[int]], Iterator[Pixels]],
    footage: Footage,
    indices: Sequence[int],
) -> Iterator[Pixels]:
    with reading(footage.path):
        yield from decode(footage, indices)
