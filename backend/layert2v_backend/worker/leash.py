"""Ties the worker's life to its front door's, for the case that it cannot read its pipe."""

import ctypes
import os
import signal
import sys

DOOR_PID = "LAYERT2V_DOOR_PID"
"""Environment variable: process id of the front door."""
_PR_SET_PDEATHSIG = 1
"""Source: linux/prctl.h."""


def end_with_door() -> None:
    """Let the kernel kill this process when the front door dies, even while it is stopped.

    Linux can do that. Elsewhere the worker leaves when its pipe ends, and the next backend ends
    one that could not (`former_workers`).
    """
    if sys.platform != "linux":
        return
    library = ctypes.CDLL(None, use_errno=True)
    library.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    # It may have died before the kernel was asked.
    if os.getppid() != int(os.environ.get(DOOR_PID, os.getppid())):
        os._exit(0)
