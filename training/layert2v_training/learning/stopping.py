"""Ends of programs on demand, by SIGTERM (schedulers) or SIGINT (Ctrl-C).

Outside the training loop they end at once, for everything made there is written whole or not at
all. Inside it they save first. Either way they end with 143 or 130, that is 128 + the signal. To
Slurm (`afterok`), Kubeflow (`ExitCode`) and a shell's `&&`, 0 means that the run is done and the
next may begin, which would then begin on half of it. 128 and more means stopped by a signal, to be
started again, and 1 means broken.
"""

import signal
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType

SIGNALS = (signal.SIGTERM, signal.SIGINT)


class Stopped(SystemExit):
    """Raised when a signal, `number`, asks the program to end. What is to be resumed was saved."""

    def __init__(self, number: int) -> None:
        super().__init__(128 + number)
        self.number = number


@contextmanager
def _handled_by(handle: Callable[[int], None]) -> Iterator[None]:
    def handler(number: int, frame: FrameType | None) -> None:
        handle(number)

    before = {number: signal.signal(number, handler) for number in SIGNALS}
    try:
        yield
    finally:
        for number, previous in before.items():
            signal.signal(number, previous)


@contextmanager
def stopping_at_once() -> Iterator[None]:
    """Turn a signal into `Stopped`, wherever the main thread is.

    Raises:
        Stopped: A signal came.
    """

    def stop(number: int) -> None:
        raise Stopped(number)

    with _handled_by(stop):
        yield


@contextmanager
def collecting_signals() -> Iterator[list[int]]:
    """Collect the signals that come, for who looks at them when it is safe to stop."""
    caught: list[int] = []
    with _handled_by(caught.append):
        yield caught


@contextmanager
def program() -> Iterator[None]:
    """Run a whole program: it stops at once when asked to, and leaves its group of processes.

    Raises:
        Stopped: A signal came.
    """
    try:
        with stopping_at_once():
            yield
    except SystemExit as end:
        # A program that only printed its help has not imported PyTorch, which takes seconds.
        # After a failure the others may still wait for this one, and leaving would wait for them.
        distributed = sys.modules.get("torch.distributed")
        if not end.code and distributed is not None and distributed.is_initialized():
            distributed.destroy_process_group()
        raise
