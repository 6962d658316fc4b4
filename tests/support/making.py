"""Work of workers in tests, in a module that loads fast."""

import os
import threading
from dataclasses import dataclass
from pathlib import Path

from layert2v_training.cache.workers import make_in_workers
from layert2v_training.learning.stopping import program


@dataclass(frozen=True)
class Doubler:
    """Doubles numbers, and fails at one of them."""

    bad: int = -1

    def __call__(self, number: int) -> int:
        if number == self.bad:
            raise ValueError(f"clip {number} is bad")
        return 2 * number


@dataclass(frozen=True)
class Sleeper:
    """Writes its process id to a folder and never ends."""

    folder: Path

    def __call__(self, number: int) -> int:
        (self.folder / str(os.getpid())).touch()
        threading.Event().wait()
        return number


def compose(folder: Path) -> None:
    """Start two workers that never end."""
    with program():
        list(make_in_workers(Sleeper(folder), range(4), 2))
