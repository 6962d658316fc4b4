"""Why something gives no clip: a kind, to count by, and a sentence with names and numbers."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Reason:
    """One reason."""

    kind: str
    """The same for all of its kind: no name, no number."""
    said: str

    def __str__(self) -> str:
        return self.said


class ShotRejected(ValueError):
    """Raised when a shot gives no clip. The message says why."""

    def __init__(self, kind: str, said: str) -> None:
        super().__init__(said)
        self.reason = Reason(kind, said)
