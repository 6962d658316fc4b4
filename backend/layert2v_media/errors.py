"""Faults of a movie or a picture."""

from pathlib import Path


class UnreadableMedia(ValueError):
    """Raised when a file or a folder cannot be read truly. It says which, why, and what to do."""

    def __init__(self, path: Path, reason: str) -> None:
        super().__init__(path, reason)  # as they are: a worker's error is made again from them
        self.path, self.reason = path, reason

    def __str__(self) -> str:
        return f"{self.path} {self.reason}"
