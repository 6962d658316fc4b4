"""An engine of one child process, `python -m layert2v_backend.worker`, kept warm between tasks.

Commands go to the child's stdin and messages come from its stdout, as lines of JSON. Its stderr is
`worker.log`. The child ends with the front door, however that ends, because its stdin ends and
Linux kills it. A starting front door also ends the former child that its folder names.
"""

import asyncio
import json
import os
import statistics
import sys
import time
from asyncio.subprocess import DEVNULL, PIPE, Process
from collections.abc import AsyncGenerator, Awaitable, Sequence
from contextlib import ExitStack, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import IO, TypeVar

import structlog

from layert2v_backend.errors import WorkerLost, WorkerNotStarted, words_of
from layert2v_backend.former_workers import end_named_worker, name_worker
from layert2v_backend.json_text import from_json, to_json
from layert2v_backend.worker.leash import DOOR_PID
from layert2v_backend.worker_protocol import (
    DEVICE_FAILED,
    EXACT,
    Failed,
    Finished,
    StageProgress,
    Stopped,
    Task,
    Warmed,
    WorkerMessage,
    WorkerOptions,
)
from layert2v_domain.job import JobStage

WORKER_COMMAND = (sys.executable, "-m", "layert2v_backend.worker")
_MESSAGES: dict[str, type[WorkerMessage | Warmed]] = {
    kind.__name__: kind for kind in (StageProgress, Finished, Failed, Stopped, Warmed)
}
_MAX_LINE_BYTES = 1 << 26
"""Longest line. `Finished` lists every file in 300 bytes, for 15 layers of 257 frames in two "
"formats."""
_MAX_LOG_BYTES = 8 << 20
_USUAL_STEPS = 10
"""A step may last this many times the median before the worker counts as hung. Source:
`docs/design_service.md`."""
_MANY = 5
"""Messages before their median is used. The first message waits for torch to load."""

T = TypeVar("T")

log = structlog.get_logger()


@dataclass(frozen=True)
class ProcessOptions:
    """Options of the worker process."""

    log: Path
    """File to which its stderr is appended."""
    threads: int = 0
    """Threads of its arithmetic. 0 means one for each processor."""
    hang_timeout_s: float = 300.0
    """Seconds without a message after which it is killed."""
    cancel_grace_s: float = 10.0
    """Seconds that it has to stop before it is killed."""
    command: Sequence[str] = WORKER_COMMAND
    """The command to run."""
    worker: WorkerOptions = EXACT
    """Options of its tasks, which are its first argument."""

    @property
    def record(self) -> Path:
        """File beside the log that names the worker."""
        return self.log.with_name("worker.json")


class ProcessEngine:
    """One worker process. It implements `Engine`."""

    def __init__(self, options: ProcessOptions) -> None:
        self._options = options
        self._child: Process | None = None
        self._spawning = asyncio.Lock()
        self._running: tuple[str, int] | None = None
        self._cancelled: tuple[str, int] | None = None
        self._killers: set[asyncio.Task[None]] = set()
        self._warming: asyncio.Task[None] | None = None
        self._is_model_loaded = False
        self._is_closed = False

    async def end_former_workers(self) -> None:
        """End the worker that a former backend left. See `Engine.end_former_workers`."""
        await asyncio.to_thread(end_named_worker, self._options.record)

    @property
    def pid(self) -> int | None:
        """Give the worker's process id, or None if no worker runs."""
        return self._child.pid if self._child else None

    @property
    def is_model_loaded(self) -> bool:
        """Say whether the worker holds a model, so that a task starts at once."""
        return self._is_model_loaded and self._child is not None

    async def warm(self, model_folder: str) -> None:
        """Start the worker and let it load a model meanwhile."""
        try:
            child = await self._living_child()
        except (WorkerNotStarted, WorkerLost) as failure:
            log.warning("worker_not_warmed", why=str(failure))
            return
        # The pipe has one reader, a running task or this method. Nothing is awaited in between.
        if self._warming is None and self._running is None:
            self._warming = asyncio.create_task(self._warm(child, model_folder))

    async def _warm(self, child: Process, model_folder: str) -> None:
        await self._send(child, "warm", json.dumps(model_folder))
        line = await _read_line(child)
        # A dead worker leaves an empty line, and the next task notices it.
        if line.endswith(b"\n"):
            message = _message_of(line)
            if not isinstance(message, Warmed):
                raise WorkerLost("the worker sent an unexpected message")
            self._is_model_loaded = not message.error

    async def run(self, task: Task) -> AsyncGenerator[WorkerMessage, None]:
        """Run one task. See `Engine.run`."""
        self._running = (task.job_id, task.attempt)
        is_done = False
        try:
            # A cold worker is silent for seconds while it loads torch, so this reports it.
            yield StageProgress(JobStage.LOADING, 0, 0)
            child = await self._living_child()
            sending = self._send(child, "run", to_json(task))
            await self._within(self._options.hang_timeout_s, sending)
            if self._cancelled == self._running:
                await self.cancel(*self._running)
            async for message in self._messages(child):
                is_done = not isinstance(message, StageProgress)
                yield message
                if is_done:
                    return
        finally:
            self._running = None
            if not is_done:
                await self._kill()

    async def _messages(self, child: Process) -> AsyncGenerator[WorkerMessage, None]:
        intervals: list[float] = []
        if self._warming is not None:
            # Warming reads the pipe, and its answer comes before the task's first message.
            await self._within(self._options.hang_timeout_s, self._warming)
        while True:
            usual_s = statistics.median(intervals) if len(intervals) >= _MANY else 0.0
            bound_s = max(self._options.hang_timeout_s, _USUAL_STEPS * usual_s)
            begin = time.monotonic()
            line = await self._within(bound_s, _read_line(child))
            intervals.append(time.monotonic() - begin)
            if not line.endswith(b"\n"):
                raise WorkerLost(_death(await child.wait()))
            message = _message_of(line)
            if isinstance(message, Warmed):
                raise WorkerLost("the worker sent an unexpected message")
            if isinstance(message, Failed) and message.error.reason == DEVICE_FAILED:
                # The worker's next tasks would fail too, so this ends the worker.
                raise WorkerLost(message.error.message)
            self._is_model_loaded |= isinstance(message, Finished)
            yield message

    async def _within(self, bound_s: float, hearing: Awaitable[T]) -> T:
        """Wait for the worker, and kill it after `bound_s` seconds of silence."""
        try:
            return await asyncio.wait_for(hearing, bound_s)
        except TimeoutError as timeout:
            await self._kill()
            raise WorkerLost(
                f"the worker reported nothing for {bound_s:.0f} s and was killed"
            ) from timeout

    async def cancel(self, job: str, attempt: int) -> None:
        """Ask the worker to stop this attempt, and kill it if it does not."""
        self._cancelled = (job, attempt)
        if self._running != self._cancelled or self._child is None:
            return
        # This is not awaited. A worker that does not read is killed below, and the caller goes on.
        assert self._child.stdin is not None
        self._child.stdin.write(f"cancel {json.dumps([job, attempt])}\n".encode())
        killer = asyncio.create_task(self._kill_late(job, attempt))
        self._killers.add(killer)
        killer.add_done_callback(self._killers.discard)

    async def _kill_late(self, job: str, attempt: int) -> None:
        await asyncio.sleep(self._options.cancel_grace_s)
        if self._running == (job, attempt):
            log.warning(
                "worker_killed", job=job, attempt=attempt, why="the worker did not hear the cancel"
            )
            await self._kill()

    async def close(self) -> None:
        """Kill the worker. A running task is lost."""
        self._is_closed = True
        for killer in self._killers:
            killer.cancel()
        await self._kill()
        if self._warming is not None:
            # The killed worker's pipe has ended this task. Cancelling it would cancel its waiter.
            await asyncio.gather(self._warming, return_exceptions=True)

    async def _living_child(self) -> Process:
        async with self._spawning:
            if self._is_closed:
                raise WorkerLost("the backend is stopping")
            child = self._child
            is_dead = child is None or child.returncode is not None
            if is_dead or (child and child.stdout and child.stdout.at_eof()):
                self._is_model_loaded, self._warming = False, None
                self._child = child = await self._spawn()
                name_worker(self._options.record, child.pid)
            assert child is not None
            return child

    async def _spawn(self) -> Process:
        with ExitStack() as files:
            try:
                return await asyncio.create_subprocess_exec(
                    *self._options.command,
                    to_json(self._options.worker),
                    stdin=PIPE,
                    stdout=PIPE,
                    stderr=_open_log(self._options.log, files),
                    limit=_MAX_LINE_BYTES,
                    env=os.environ | self._environment(),
                    # A Ctrl-C in the terminal is for the front door alone.
                    start_new_session=os.name == "posix",
                )
            # asyncio waits for a child in a thread, and Python has its own text for a failed
            # thread.
            except (OSError, RuntimeError) as failure:
                scarce = "this user has too many processes"
                why = words_of(failure) if isinstance(failure, OSError) else scarce
                raise WorkerNotStarted(
                    f"no worker could be started ({why}): close other programs or restart the "
                    f"backend, then try again"
                ) from failure

    def _environment(self) -> dict[str, str]:
        offline = {"HF_HUB_OFFLINE": "1", "TOKENIZERS_PARALLELISM": "false"}
        offline[DOOR_PID] = str(os.getpid())
        threads = str(self._options.threads or _num_processors())
        return offline | {"OMP_NUM_THREADS": threads, "MKL_NUM_THREADS": threads}

    async def _send(self, child: Process, command: str, body: str) -> None:
        assert child.stdin is not None
        child.stdin.write(f"{command} {body}\n".encode())
        try:
            await child.stdin.drain()
        except ConnectionError:
            # The reader of its messages notices its death.
            log.warning("worker_gone", command=command)

    async def _kill(self) -> None:
        child, self._child = self._child, None
        self._is_model_loaded = False
        if child is None:
            return
        if child.returncode is None:
            child.kill()
        # In Python 3.11.2 waiting lasts until the pipe has ended, and a full pipe without a reader
        # does not end.
        assert child.stdout is not None
        with suppress(RuntimeError):  # a reader exists already
            while await child.stdout.read(_MAX_LINE_BYTES):
                pass
        await child.wait()


def _num_processors() -> int:
    """Count the processors that this program may use. A container may allow only some."""
    if sys.platform == "linux":
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def _message_of(line: bytes) -> WorkerMessage | Warmed:
    kind, _, body = line.partition(b" ")
    try:
        return from_json(_MESSAGES[kind.decode()], body)
    except (KeyError, ValueError) as failure:
        raise WorkerLost("the worker sent a message that cannot be read") from failure


def _death(returncode: int) -> str:
    if returncode < 0:
        return f"the worker died of signal {-returncode}"
    return f"the worker left with exit code {returncode}"


async def _read_line(child: Process) -> bytes:
    """Read one line of the worker's messages. It has no line end if the worker left.

    Raises:
        WorkerLost: The line is longer than `_MAX_LINE_BYTES`.
    """
    assert child.stdout is not None
    try:
        return await child.stdout.readline()
    except ValueError as failure:
        raise WorkerLost("the worker sent a message that is too long") from failure


def _open_log(path: Path, files: ExitStack) -> IO[bytes] | int:
    """Open the worker's log for its stderr, or the null device if the log cannot be written."""
    try:
        _rotate(path)
        return files.enter_context(path.open("ab"))
    except OSError as failure:
        log.warning("worker_log_unusable", path=str(path), why=words_of(failure))
        return DEVNULL


def _rotate(path: Path) -> None:
    if path.exists() and path.stat().st_size > _MAX_LOG_BYTES:
        path.replace(path.with_suffix(".old.log"))
