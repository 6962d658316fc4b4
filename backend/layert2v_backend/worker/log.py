"""The worker's log, which is its stderr. The front door appends it to a file."""

import sys
from contextlib import suppress


def note(text: str) -> None:
    """Write a line, or a traceback, to the log.

    If the log cannot be written, as on a full disk, the line is lost, but not the job or the
    worker.
    """
    with suppress(OSError):
        sys.stderr.write(f"{text}\n")
        sys.stderr.flush()
