"""The worker's end of the pipe. Each line is `run TASK`, `warm FOLDER` or `cancel [JOB, ATTEMPT]`.

A thread reads, so that a cancel is heard while a task runs. The process also leaves at once when
its stdin ends, because without a front door its take would be lost.
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
"""Says whether exactly this (job, attempt) must stop."""


class Runner(Protocol):
    """The object that does the work at this end."""

    def warm(self, folder: Path) -> Warmed:
        """Load a model ahead of its first task."""

    def run(self, task: Task) -> WorkerMessage:
        """Run one task and return its last message."""


class Commands:
    """The commands of the front door, as they come."""

    def __init__(self, source: BinaryIO) -> None:
        self._source = source
        self._waiting: queue.SimpleQueue[tuple[str, str]] = queue.SimpleQueue()
        self._cancelled: set[tuple[str, int]] = set()

    def listen(self) -> None:
        """Begin to read in a thread."""
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
        """Wait for the next command, `run` or `warm`, and give it with its body."""
        return self._waiting.get()

    def is_cancelled(self, job: str, attempt: int) -> bool:
        """Say whether exactly this attempt must stop."""
        return (job, attempt) in self._cancelled


def serve_pipe(make_runner: Callable[[Emit, IsCancelled], Runner]) -> None:
    """Take commands from stdin and answer on stdout until stdin ends. Never returns."""
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
    """Keep stdout for messages alone. Output of libraries goes to the log."""
    pipe = os.fdopen(os.dup(1), "w", encoding="utf-8", newline="\n")
    os.dup2(2, 1)
    return pipe
