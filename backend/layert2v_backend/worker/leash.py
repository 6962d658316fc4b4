"""Ends the worker with its front door, even if the worker cannot read its pipe."""

import ctypes
import os
import signal
import sys

DOOR_PID = "LAYERT2V_DOOR_PID"
"""Environment variable with the process id of the front door."""
_PR_SET_PDEATHSIG = 1
"""Source: linux/prctl.h."""


def end_with_door() -> None:
    """Let the kernel kill this process when the front door dies, even while it is stopped.

    Only Linux can do that. Elsewhere the worker leaves when its pipe ends, and the next backend
    ends a worker that stayed (`former_workers`).
    """
    if sys.platform != "linux":
        return
    library = ctypes.CDLL(None, use_errno=True)
    library.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    # The front door may have died before the kernel was asked.
    if os.getppid() != int(os.environ.get(DOOR_PID, os.getppid())):
        os._exit(0)
