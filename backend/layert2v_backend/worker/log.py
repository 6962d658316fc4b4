"""The worker's log: its stderr, which the front door appends to a file."""

import sys
from contextlib import suppress


def note(text: str) -> None:
    """Write a line, or a traceback, to the log.

    A log that cannot be written, on a full disk for one, costs the line and neither job nor worker.
    """
    with suppress(OSError):
        sys.stderr.write(f"{text}\n")
        sys.stderr.flush()
