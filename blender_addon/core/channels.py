# SPDX-License-Identifier: GPL-3.0-or-later
"""Free channels of the sequencer. Blender's own constructors never avoid collisions."""

from collections.abc import Collection, Iterable
from dataclasses import dataclass

LAST_CHANNEL = 128
"""Highest channel number. Source: MAX_CHANNELS of Blender's sequencer, 4.2 to 5.2."""


class NoFreeChannels(Exception):
    """Raised when the strips of a take do not fit. Says how many channels they need."""


@dataclass(frozen=True)
class Span:
    """The place that a strip occupies."""

    channel: int
    """Number of the channel, 1 to 128."""
    frame_start: int
    """First frame of the strip."""
    frame_end: int
    """Frame after the last frame of the strip."""


def first_free_channel(
    spans: Iterable[Span],
    frame_start: int,
    frame_end: int,
    count: int,
    blocked: Collection[int] = (),
) -> int:
    """Find `count` adjacent channels free from `frame_start` up to before `frame_end`.

    They lie above every strip there, so that the take is seen. They lie below only if no
    channels are left above. `blocked` are locked or muted channels.

    Raises:
        NoFreeChannels: There are no `count` adjacent free channels.
    """
    taken = {
        span.channel
        for span in spans
        if span.frame_start < frame_end and frame_start < span.frame_end
    }
    above = max(taken, default=0) + 1
    unusable = taken | set(blocked)
    candidates: list[int] = [*range(above, LAST_CHANNEL + 1), *range(1, above)]
    for first in candidates:
        channels = range(first, first + count)
        if channels[-1] <= LAST_CHANNEL and unusable.isdisjoint(channels):
            return first
    raise NoFreeChannels(
        f"The take needs {count} adjacent free channels from frame {frame_start}, but the "
        f"{LAST_CHANNEL} channels have none. Move some strips, then try again."
    )
