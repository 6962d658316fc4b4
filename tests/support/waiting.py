"""How long the tests wait, and for what: for events, and no longer than a hang takes."""

import os
import selectors
import time
from collections.abc import Callable, Iterable

HANG_S = 600.0
"""Seconds after which something hangs. No machine is so slow or so busy that a test needs them."""


def await_that(is_so: Callable[[], bool], what: str, pause_s: float = 0.01) -> None:
    """Look again and again until something is so that nobody announces.

    Raises:
        AssertionError: It was not so within `HANG_S`.
    """
    end = time.monotonic() + HANG_S
    while not is_so():
        assert time.monotonic() < end, f"waited {HANG_S:g} s for: {what}"
        time.sleep(pause_s)


def await_ends(pids: Iterable[int]) -> None:
    """Wait until processes have ended, whoever started them; one that is not there has ended.

    Raises:
        AssertionError: One had not ended within `HANG_S`.
    """
    for pid in pids:
        try:
            watched = os.pidfd_open(pid)
        except ProcessLookupError:
            continue
        try:
            with selectors.DefaultSelector() as selector:
                selector.register(watched, selectors.EVENT_READ)
                assert selector.select(HANG_S), f"process {pid} had not ended after {HANG_S:g} s"
        finally:
            os.close(watched)
