# SPDX-License-Identifier: GPL-3.0-or-later
"""What runs while Blender runs: the session, the local backend and the board. Lost on exit.

It is not stored in the .blend on purpose: undo would roll it back.
"""

from dataclasses import dataclass, field

from layert2v_client import ArtifactFormat, default_address

from ..core.board import Board
from ..core.launcher import Launcher
from ..core.session import Session


@dataclass
class Runtime:
    """The one connection of this Blender."""

    session: Session | None = None
    """The thread that talks to the backend, once connected."""
    launcher: Launcher = field(default_factory=Launcher)
    """The backend that this Blender started, or none."""
    board: Board = field(default_factory=Board)
    """What the panels show."""
    asked_here: dict[str, set[str]] = field(default_factory=dict)
    """Request ids asked in this session, by path of the .blend (empty: unsaved)."""

    def connect(self, address: str, token: str, *, with_masters: bool) -> Session:
        """Give the session to an address, made anew when the address has changed."""
        address = address.strip() or default_address()
        if self.session is not None and self.session.address == address:
            self.session.probe()
            return self.session
        self.disconnect()
        formats = {ArtifactFormat.PNG} | ({ArtifactFormat.EXR} if with_masters else set())
        self.session = Session(address, token=token, formats=frozenset(formats))
        return self.session

    def disconnect(self) -> None:
        """End the session; the backend's jobs go on."""
        if self.session is not None:
            self.session.close()
        self.session = None
        self.board.is_up = None
        self.board.info, self.board.models = None, ()

    def close(self) -> None:
        """End everything this Blender started."""
        self.disconnect()
        self.launcher.close()
        self.board = Board()


runtime = Runtime()
"""The one there is."""
