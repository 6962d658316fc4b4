"""The worker's end of the pipe: `run TASK`, `warm FOLDER`, `cancel [JOB, ATTEMPT]`, one a line.

A thread reads, so that a cancel is heard while a task runs, and so that the process leaves at once
when its stdin ends: without a front door nobody would take its take.
"""

import json
import os
import queue
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import BinaryIO, Protocol, TextIO

from layert2v_backend.json_text import from_json, to_json
from layert2v_backend.worker_protocol import Task, Warmed, WorkerMessage

Emit = Callable[[WorkerMessage], None]
IsCancelled = Callable[[str, int], bool]
"""Whether this very (job, attempt) is to stop."""


class Runner(Protocol):
    """What does the work at this end."""

    def warm(self, folder: Path) -> Warmed:
        """Load a model ahead of its first task."""

    def run(self, task: Task) -> WorkerMessage:
        """Run one task and return its last message."""


class Commands:
    """What the front door wants, as it comes."""

    def __init__(self, source: BinaryIO) -> None:
        self._source = source
        self._waiting: queue.SimpleQueue[tuple[str, str]] = queue.SimpleQueue()
        self._cancelled: set[tuple[str, int]] = set()

    def listen(self) -> None:
        """Begin to read, in a thread of its own."""
        threading.Thread(target=self._read, name="commands", daemon=True).start()

    def _read(self) -> None:
        for line in self._source:
            command, _, body = line.decode().partition(" ")
            if command == "cancel":
                job, attempt = json.loads(body)
                self._cancelled.add((job, attempt))
            else:
                self._waiting.put((command, body))
        os._exit(0)

    def next(self) -> tuple[str, str]:
        """Wait for the next command, `run` or `warm`, and its body."""
        return self._waiting.get()

    def is_cancelled(self, job: str, attempt: int) -> bool:
        """Whether this very attempt is to stop."""
        return (job, attempt) in self._cancelled


def serve_pipe(make_runner: Callable[[Emit, IsCancelled], Runner]) -> None:
    """Take commands from stdin and answer on stdout until stdin ends; never returns."""
    pipe = _take_stdout()
    commands = Commands(sys.stdin.buffer)
    commands.listen()

    def emit(message: WorkerMessage | Warmed) -> None:
        pipe.write(f"{type(message).__name__} {to_json(message)}\n")
        pipe.flush()

    runner = make_runner(emit, commands.is_cancelled)
    while True:
        command, body = commands.next()
        if command == "warm":
            emit(runner.warm(Path(json.loads(body))))
        else:
            emit(runner.run(from_json(Task, body)))


def _take_stdout() -> TextIO:
    """Keep stdout for messages alone: whatever a library prints goes to the log."""
    pipe = os.fdopen(os.dup(1), "w", encoding="utf-8", newline="\n")
    os.dup2(2, 1)
    return pipe
