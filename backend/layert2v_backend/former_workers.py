"""The worker that a state folder names, so that a starting backend ends one that was left behind.

A worker leaves when its front door does, but one that is stopped by a signal cannot notice. The
folder names it by process id, start time and folder: ids are used again, and folders are copied.
"""

import json
from pathlib import Path

import psutil
import structlog

_START_SLACK_S = 0.05
"""The system counts start times in hundredths of a second."""
_END_S = 10.0
"""How long a killed process may take to vanish; the GPU gives its memory back meanwhile."""

log = structlog.get_logger()


def name_worker(record: Path, pid: int) -> None:
    """Name a worker that was just started; `record` lies in the state folder.

    A record that cannot be written is logged only: the worker works all the same.
    """
    try:
        started = psutil.Process(pid).create_time()
        named = {"pid": pid, "started": started, "folder": str(record.parent.resolve())}
        record.write_text(json.dumps(named), encoding="utf-8")
    except (OSError, psutil.Error) as failure:
        log.warning("worker_not_named", file=str(record), why=str(failure))


def end_named_worker(record: Path) -> bool:
    """End the worker that a former backend of this folder has named, if it still lives.

    Returns:
        Whether there was one, and it is gone now.
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
