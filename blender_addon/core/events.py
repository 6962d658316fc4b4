# SPDX-License-Identifier: GPL-3.0-or-later
"""Events: plain values that the session tells the main thread through a queue."""

from dataclasses import dataclass

from layert2v_client import Model, Progress, ServerInfo

from .records import JobRecord


@dataclass(frozen=True)
class LinkUp:
    """The backend answers."""

    info: ServerInfo
    """The backend's own description."""
    models: tuple[Model, ...]
    """Models of the backend."""


@dataclass(frozen=True)
class LinkDown:
    """The backend does not answer."""

    message: str
    """Says in a sentence why."""
    remedy: str
    """Says what to do about it."""


@dataclass(frozen=True)
class RecordChanged:
    """A request has come further or failed. The journal says so already."""

    record: JobRecord
    """The record, as it is now."""
    journal_folder: str
    """The media root whose journal holds it."""


@dataclass(frozen=True)
class ProgressChanged:
    """A running job has progressed."""

    request_id: str
    """Id of the request."""
    progress: Progress
    """Progress of its job."""


@dataclass(frozen=True)
class FetchProgressed:
    """A take is being fetched."""

    request_id: str
    """Id of the request."""
    fraction: float
    """Share of the take's bytes, 0 to 1."""


Event = LinkUp | LinkDown | RecordChanged | ProgressChanged | FetchProgressed
