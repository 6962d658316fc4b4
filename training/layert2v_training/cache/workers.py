"""Making clips in several processes, which end with this one however it ends."""

import multiprocessing
import os
import signal
import threading
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ProcessPoolExecutor
from multiprocessing.connection import Connection
from typing import Any, TypeVar

import cv2
import torch

from layert2v_training.learning.stopping import SIGNALS

Made = TypeVar("Made")

_made_by: Callable[[int], Any] | None = None
"""The function a worker was started with, so that it travels once and not with every number."""


def make_in_workers(
    make: Callable[[int], Made], numbers: Iterable[int], num_workers: int = 0
) -> Iterator[Made]:
    """Yield `make` of every number, in their order.

    Args:
        make: Must pickle small, for workers start one after another until each has read it; its
            result depends on nothing but the number.
        numbers: Numbers, such as those of clips.
        num_workers: Processes beside this one, one thread each; 0: in this one.

    Raises:
        Exception: Whatever `make` raised, for the first number at which it did.
    """
    if num_workers == 0:
        yield from map(make, numbers)
        return
    # A process that has used a GPU must not be forked.
    spawned = multiprocessing.get_context("spawn")
    watched, alive = spawned.Pipe(duplex=False)
    pool = ProcessPoolExecutor(num_workers, spawned, _start, (make, watched))
    try:
        yield from pool.map(_make, numbers)
    finally:
        # What they are at may take minutes, and nobody waits for it any more.
        alive.close()
        pool.shutdown(cancel_futures=True)
        watched.close()


def _start(make: Callable[[int], Any], watched: Connection) -> None:
    global _made_by
    _made_by = make
    # Schedulers and terminals signal all processes, but only the parent process decides.
    for number in SIGNALS:
        signal.signal(number, signal.SIG_IGN)
    threading.Thread(target=_end_with, args=(watched,), daemon=True).start()
    cv2.setNumThreads(1)
    torch.set_num_threads(1)


def _end_with(watched: Connection) -> None:
    """End this process once the pipe's other end is closed, which a killed process's is too."""
    watched.poll(None)
    os._exit(1)


def _make(number: int) -> Any:
    assert _made_by is not None, "a worker is started by make_in_workers"
    return _made_by(number)
