# SPDX-License-Identifier: GPL-3.0-or-later
"""Events, which are plain values that the session queues for the main thread."""

from dataclasses import dataclass

from layert2v_client import Model, Progress, ServerInfo

from .records import JobRecord


@dataclass(frozen=True)
class LinkUp:
    """The backend answers."""

    info: ServerInfo
    """Description of the backend."""
    models: tuple[Model, ...]
    """Models of the backend."""


@dataclass(frozen=True)
class LinkDown:
    """The backend does not answer."""

    message: str
    """Sentence on why the backend does not answer."""
    remedy: str
    """Sentence on the remedy."""


@dataclass(frozen=True)
class RecordChanged:
    """A request has advanced or failed. The journal already holds the change."""

    record: JobRecord
    """Record of the request after the change."""
    journal_folder: str
    """Media root whose journal holds the record."""


@dataclass(frozen=True)
class ProgressChanged:
    """A running job has progressed."""

    request_id: str
    """Id of the request."""
    progress: Progress
    """Progress of the job."""


@dataclass(frozen=True)
class FetchProgressed:
    """A take is being fetched."""

    request_id: str
    """Id of the request."""
    fraction: float
    """Share of the take's bytes that are fetched, 0 to 1."""


Event = LinkUp | LinkDown | RecordChanged | ProgressChanged | FetchProgressed
