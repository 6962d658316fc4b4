# SPDX-License-Identifier: GPL-3.0-or-later
"""What was asked of which backend, and what became of it: one record per request.

SUBMITTING -> QUEUED -> RUNNING -> FETCHING -> READY -> IMPORTED
     |           |         |          |          |
     +-> FAILED <+---------+----------+          +-> DISMISSED (kept on disk)
any active -> CANCELLING -> CANCELLED
"""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from enum import StrEnum
from typing import Any

from layert2v_client import Shot

from .shots import shot_from_json, shot_to_json


class RecordState(StrEnum):
    """How far a request has come on this side."""

    SUBMITTING = "submitting"
    QUEUED = "queued"
    RUNNING = "running"
    FETCHING = "fetching"
    READY = "ready"
    IMPORTED = "imported"
    DISMISSED = "dismissed"
    CANCELLING = "cancelling"
    CANCELLED = "cancelled"
    FAILED = "failed"

    @property
    def is_active(self) -> bool:
        """Whether the session still has work to do."""
        return self in (
            RecordState.SUBMITTING,
            RecordState.QUEUED,
            RecordState.RUNNING,
            RecordState.FETCHING,
            RecordState.CANCELLING,
        )


@dataclass(frozen=True)
class JobRecord:
    """One request, as the journal holds it."""

    request_id: str
    """A UUID made before sending: a request may be repeated without a second job."""
    project_uid: str
    """The scene that asked, by the id stored on it."""
    scene_name: str
    """The scene's name when it asked; for people."""
    shot_uid: str
    """The shot; all takes of a shot share it."""
    asked: Shot
    """The shot as asked for, before the backend filled in defaults."""
    frame_start: int
    """Where the take goes: the playhead when Generate was pressed."""
    shot_folder: str
    """Where takes are stored, relative to the journal's folder, with `/`."""
    address: str
    """The backend that was asked."""
    fps: float
    """Frames per second of the model; 0 where unknown."""
    layer_index: int = -1
    """The layer made anew; -1: the whole shot is new."""
    state: RecordState = RecordState.SUBMITTING
    """How far it has come."""
    job: str = ""
    """`jobs/{job}`, once acknowledged."""
    last_sequence: int = 0
    """Last event seen of the job."""
    take_folder: str = ""
    """The fetched take, relative to the journal's folder, with `/`."""
    error: str = ""
    """One sentence when failed."""
    remedy: str = ""
    """What to do about it."""

    def to_json(self) -> dict[str, Any]:
        """Write as plain JSON values."""
        return {**asdict(self), "asked": shot_to_json(self.asked)}

    @classmethod
    def from_json(cls, values: Mapping[str, Any]) -> "JobRecord":
        """Read what `to_json` wrote; fields of newer versions are passed over."""
        known = {field.name: values[field.name] for field in fields(cls) if field.name in values}
        known["asked"] = shot_from_json(known["asked"])
        known["state"] = RecordState(known["state"])
        return cls(**known)
