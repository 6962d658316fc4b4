"""The worker that a state folder names, so that a starting backend can end a worker left behind.

A worker leaves when its front door does, but a worker that a signal has stopped cannot notice. The
folder names it by process id, start time and folder, because ids are used again and folders are
copied.
"""

import json
from pathlib import Path

import psutil
import structlog

_START_SLACK_S = 0.05
"""The system counts start times in hundredths of a second."""
_END_S = 10.0
"""Seconds that a killed process may take to vanish, while the GPU frees its memory."""

log = structlog.get_logger()


def name_worker(record: Path, pid: int) -> None:
    """Name a new worker in `record`, a file in the state folder.

    A record that cannot be written is only logged, because the worker works without it.
    """
    try:
        started = psutil.Process(pid).create_time()
        named = {"pid": pid, "started": started, "folder": str(record.parent.resolve())}
        record.write_text(json.dumps(named), encoding="utf-8")
    except (OSError, psutil.Error) as failure:
        log.warning("worker_not_named", file=str(record), why=str(failure))


def end_named_worker(record: Path) -> bool:
    """End the worker that a former backend of this folder named, if it is still alive.

    Returns:
        Whether this call has ended a worker.
    """
    try:
        named = json.loads(record.read_text(encoding="utf-8"))
        pid, started, folder = int(named["pid"]), float(named["started"]), str(named["folder"])
    except (OSError, ValueError, KeyError, TypeError):
        return False
    if folder != str(record.parent.resolve()):
        return False
    try:
        process = psutil.Process(pid)
        if abs(process.create_time() - started) > _START_SLACK_S:
            return False
        process.kill()
        process.wait(_END_S)
    except psutil.NoSuchProcess:
        return False
    except (psutil.AccessDenied, psutil.TimeoutExpired) as failure:
        log.error("former_worker_lives", pid=pid, why=str(failure))
        return False
    log.warning("former_worker_ended", pid=pid)
    return True
