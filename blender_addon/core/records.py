# SPDX-License-Identifier: GPL-3.0-or-later
"""Records of requests. Each holds the shot, the backend and the progress so far.

SUBMITTING -> QUEUED -> RUNNING -> FETCHING -> READY -> IMPORTED
     |           |         |          |          |
     +-> FAILED <+---------+----------+          +-> DISMISSED (kept on disk)
any active -> CANCELLING -> CANCELLED

Several processes may hold a request, so a record has a revision. `latest` merges two records.
"""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields, replace
from enum import StrEnum
from typing import Any

from layert2v_client import Shot

from .shots import shot_from_json, shot_to_json


class RecordState(StrEnum):
    """State of a request in the add-on."""

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
    """UUID from before sending, so that a repeated request creates no second job."""
    project_uid: str
    """Project id that is stored on the scene that asked."""
    scene_name: str
    """Name of the scene when it asked, for people."""
    shot_uid: str
    """Id of the shot, which all of its takes share."""
    asked: Shot
    """Shot as asked for, before the backend filled in defaults."""
    frame_start: int
    """Frame at which the take starts, which is the playhead when Generate was pressed."""
    shot_folder: str
    """Folder of the shot's takes, relative to the journal's folder, with `/`."""
    address: str
    """Address of the backend that was asked."""
    fps: float
    """Frames per second of the model. 0 if unknown."""
    layer_index: int = -1
    """Index of the regenerated layer. -1 means that the whole shot is new."""
    state: RecordState = RecordState.SUBMITTING
    """State of the request."""
    job: str = ""
    """Name of the job, `jobs/{job}`. Empty until the backend acknowledges it."""
    last_sequence: int = 0
    """Sequence number of the last event seen of the job."""
    take_folder: str = ""
    """Folder of the fetched take, relative to the journal's folder, with `/`."""
    error: str = ""
    """Sentence on why the request has failed."""
    remedy: str = ""
    """Sentence on the remedy."""
    revision: int = 0
    """Number of changes so far. Of two records of a request, the larger number wins."""
    blend_path: str = ""
    """Absolute path of the .blend that asked. Empty if it was not saved yet."""
    asked_at: float = 0.0
    """Time of the request in seconds since 1970. 0 in records of earlier versions of the add-on."""
    is_cancel_asked: bool = False
    """Whether a cancel was asked. Then the take is never imported by itself, and no later record
    revokes that promise."""
    is_import_asked: bool = False
    """Whether the artist pressed Import Now, so that a cancel does not stop the import."""
    is_dismissed: bool = False
    """Whether the artist dismissed a request before the backend received its cancel."""
    is_made: bool = False
    """Whether the backend has finished the take, so that trying again only fetches it."""
    is_over: bool = False
    """Whether the job ended without a take, so that trying again sends a new request."""

    @property
    def is_wanted(self) -> bool:
        """Whether the take may be imported by itself."""
        return self.is_import_asked or not self.is_cancel_asked

    @property
    def is_offered(self) -> bool:
        """Whether the take was finished in spite of a cancel and waits for the artist."""
        is_left = self.state is RecordState.CANCELLED and self.is_made
        return is_left and not self.is_dismissed

    @property
    def is_cancel_pending(self) -> bool:
        """Whether a cancel was asked that the backend has not received."""
        return self.is_cancel_asked and self.state is RecordState.CANCELLING

    def kept_promises(self, other: "JobRecord") -> "JobRecord":
        """Give this record with the artist's promises in another record of the request."""
        return replace(
            self,
            is_cancel_asked=self.is_cancel_asked or other.is_cancel_asked,
            is_import_asked=self.is_import_asked or other.is_import_asked,
            is_dismissed=self.is_dismissed or other.is_dismissed,
        )

    def to_json(self) -> dict[str, Any]:
        """Write as plain JSON values."""
        return {**asdict(self), "asked": shot_to_json(self.asked)}

    @classmethod
    def from_json(cls, values: Mapping[str, Any]) -> "JobRecord":
        """Read what `to_json` wrote. Fields of newer versions are ignored."""
        known = {field.name: values[field.name] for field in fields(cls) if field.name in values}
        known["asked"] = shot_from_json(known["asked"])
        known["state"] = RecordState(known["state"])
        return cls(**known)


def latest(one: JobRecord, other: JobRecord) -> JobRecord:
    """Merge two records of a request into the later revision, with the promises of both.

    Equal revisions come from two processes at once. Then `other` wins, because it is later.
    """
    newer, older = (one, other) if one.revision > other.revision else (other, one)
    return newer.kept_promises(older)
