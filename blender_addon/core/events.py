# SPDX-License-Identifier: GPL-3.0-or-later
"""Events: plain values that the session tells the main thread through a queue."""

from dataclasses import dataclass

from layert2v_client import Model, Progress, ServerInfo

from .records import JobRecord


@dataclass(frozen=True)
class LinkUp:
    """The backend answers."""

    info: ServerInfo
    """What it is."""
    models: tuple[Model, ...]
    """What it can make."""


@dataclass(frozen=True)
class LinkDown:
    """The backend does not answer."""

    message: str
    """One sentence."""
    remedy: str
    """What to do about it."""


@dataclass(frozen=True)
class RecordChanged:
    """A request has come further, or failed; the journal says so already."""

    record: JobRecord
    """As it is now."""
    journal_folder: str
    """The media root whose journal holds it."""


@dataclass(frozen=True)
class ProgressChanged:
    """A running job has progressed."""

    request_id: str
    """Whose job."""
    progress: Progress
    """How far."""


@dataclass(frozen=True)
class FetchProgressed:
    """A take is being fetched."""

    request_id: str
    """Whose take."""
    fraction: float
    """Share of its bytes, 0 to 1."""


Event = LinkUp | LinkDown | RecordChanged | ProgressChanged | FetchProgressed
