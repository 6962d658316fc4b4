"""Waits for events, but no longer than until a test counts as hung."""

import os
import selectors
import time
from collections.abc import Callable, Iterable

HANG_S = 600.0
"""Seconds after which a test counts as hung. No machine is so slow that a test needs them."""


def await_that(is_so: Callable[[], bool], what: str, pause_s: float = 0.01) -> None:
    """Poll until a condition holds that no event announces.

    Raises:
        AssertionError: The condition did not hold within `HANG_S`.
    """
    end = time.monotonic() + HANG_S
    while not is_so():
        assert time.monotonic() < end, f"waited {HANG_S:g} s for: {what}"
        time.sleep(pause_s)


def await_ends(pids: Iterable[int]) -> None:
    """Wait until processes have ended, no matter who started them. A missing process has ended.

    Raises:
        AssertionError: A process had not ended within `HANG_S`.
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
