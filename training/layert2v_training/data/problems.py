"""Faults of a clip's files.

BadClip      one clip, with the file and the reason
MixedRates   clips of a source that would show one motion at several speeds
BadClips     several, each on a line of its own
"""

import textwrap
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from fractions import Fraction
from pathlib import Path

from layert2v_media.errors import UnreadableMedia

MISSING = "is missing; name a folder of clips or a .jsonl file"
"""The words for a source that is missing."""


def shortened(text: str, most: int = 60) -> str:
    """Cut a text between words for a message. A word that is too long is left out."""
    return textwrap.shorten(text, most, placeholder=" ...")


class BadClip(ValueError):
    """Raised when a clip cannot be used. The message says which file, why, and what to do."""

    def __init__(self, path: Path, reason: str) -> None:
        super().__init__(path, reason)  # as they are: a worker's error is made again from them
        self.path, self.reason = path, reason

    def __str__(self) -> str:
        return f"{self.path}: {self.reason}"


class MixedRates(BadClip):
    """Raised when clips have several frame rates and none is chosen; leaving one out helps not."""


def mixed_rates(source: Path, files: Mapping[Fraction, Path]) -> MixedRates:
    """Make the error for a source, from each rate and a clip that has it."""
    said = ", ".join(f"{float(rate):.5g} ({path.name})" for rate, path in sorted(files.items()))
    return MixedRates(source, f"has mixed frame rates: {said}; choose one (--fps)")


class BadClips(ValueError):
    """Raised when clips of a source cannot be used and none may be left out."""

    def __init__(self, bad: Sequence[BadClip]) -> None:
        super().__init__(bad)
        self.bad = tuple(bad)

    def __str__(self) -> str:
        lines = "\n".join(map(str, self.bad))
        count = f"{len(self.bad)} bad clip" + "s" * (len(self.bad) > 1)
        return f"{count} (repair them, or leave them out):\n{lines}"


@contextmanager
def reading(path: Path) -> Iterator[None]:
    """Turn what the reader of media or the system says while a file is read into `BadClip`."""
    try:
        yield
    except UnreadableMedia as problem:
        raise BadClip(problem.path, problem.reason) from problem
    except OSError as failure:
        reason = f"cannot be read ({failure.strerror}); check the name and who may read it"
        raise BadClip(path, reason) from failure
