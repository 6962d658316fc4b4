# SPDX-License-Identifier: GPL-3.0-or-later
"""The session, the local backend and the board of this Blender. They are lost on exit.

They are not stored in the .blend, because undo would roll them back.
"""

import logging
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from layert2v_client import ArtifactFormat, default_address

from ..core.board import Board, JobView
from ..core.events import RecordChanged
from ..core.journal import Journal
from ..core.launcher import Launcher
from ..core.records import JobRecord
from ..core.session import Session

_log = logging.getLogger(__name__)


@dataclass
class Runtime:
    """The one connection of this Blender."""

    session: Session | None = None
    """Thread that talks to the backend, once connected."""
    launcher: Launcher = field(default_factory=Launcher)
    """Launcher of the local backend, which may be stopped."""
    board: Board = field(default_factory=Board)
    """State that panels show."""
    last_sent: tuple[float, Any] | None = None
    """Time (`time.monotonic`, seconds) and shot of the last request by Generate."""
    notice: str = ""
    """Sentence on a problem of the open file. Empty without a problem."""
    is_registered: bool = False
    """Whether the add-on is registered. The runtime survives a new registration."""
    is_newly_registered: bool = False
    """Whether the add-on was registered since the last tick."""
    projects: dict[Any, Any] = field(default_factory=dict)
    """Identity of each scene of the open file (`project.Identity`), by `compat.session_uid`."""
    asked_here: dict[tuple[str, str], bool] = field(default_factory=dict)
    """Whether a request belongs to a file, by request id and path. Finding out reads the disk."""
    num_strips: dict[Any, int] = field(default_factory=dict)
    """Number of strips of a scene at the last look for copies of shots."""
    strip_names: dict[Any, set[str]] = field(default_factory=dict)
    """Names of a scene's strips at the last look. Copies have other names."""

    def connect(self, address: str, token: str, *, with_masters: bool) -> Session:
        """Give the session with an address. A session with another address ends."""
        address = address.strip() or default_address()
        if self.session is not None and self.session.address == address:
            self.session.probe()
            return self.session
        self.disconnect()
        formats = {ArtifactFormat.PNG} | ({ArtifactFormat.EXR} if with_masters else set())
        self.session = Session(address, token=token, formats=frozenset(formats))
        return self.session

    def send(self, session: Session, record: JobRecord, journal: Journal) -> JobRecord:
        """Show a request on the board and hand it to the session."""
        self.board.apply(RecordChanged(record, str(journal.folder)))
        session.submit(record, journal)
        return record

    def settle(self, view: JobView, **changes: Any) -> None:
        """Record the main thread's change of a request on the board and in the journal."""
        record = replace(view.record, revision=view.record.revision + 1, **changes)
        self.board.apply(RecordChanged(record, view.journal_folder))
        journal = Journal.of_media(Path(view.journal_folder))
        if self.session is not None:
            self.session.mark(record, journal, record.state)
            return
        try:
            journal.append(record)
        except OSError as error:
            _log.warning("%s cannot be written: %s", journal.path, error.strerror)

    def forget_file(self) -> None:
        """Forget the scenes of the file that was open."""
        for known in (self.projects, self.asked_here, self.num_strips, self.strip_names):
            known.clear()
        self.notice = ""

    def disconnect(self) -> None:
        """End the session. The backend's jobs continue."""
        if self.session is not None:
            self.session.close()
        self.session = None
        self.board.is_up = None
        self.board.info, self.board.models = None, ()

    def close(self) -> None:
        """End the session and the local backend."""
        self.disconnect()
        self.launcher.close()
        self.board = Board()
        self.forget_file()


runtime = Runtime()
"""The runtime of this Blender."""
