"""A disk that a test fills and empties."""

import errno
from pathlib import Path


class SmallDisk:
    """A mounted folder and a file that takes the free space."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._filler = folder / "filler"

    def fill(self) -> None:
        """Fill the disk to the last byte."""
        with self._filler.open("ab", buffering=0) as file:
            for size in (1 << 16, 1 << 12, 1):
                while self._takes(file, size):
                    pass

    @staticmethod
    def _takes(file: object, size: int) -> bool:
        try:
            return file.write(bytes(size)) == size  # type: ignore[attr-defined]
        except OSError as failure:
            if failure.errno != errno.ENOSPC:
                raise
            return False

    def empty(self) -> None:
        """Free the space."""
        self._filler.unlink()
