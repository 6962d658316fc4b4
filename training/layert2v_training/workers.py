"""Making clips in several processes."""

import multiprocessing
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ProcessPoolExecutor
from typing import Any, TypeVar

import cv2
import torch

Made = TypeVar("Made")

_made_by: Callable[[int], Any] | None = None
"""What a worker was started with, so that it travels once and not with every number."""


def make_in_workers(
    make: Callable[[int], Made], numbers: Iterable[int], num_workers: int = 0
) -> Iterator[Made]:
    """Yield `make` of every number, in their order.

    Args:
        make: Must pickle small, for workers start one after another until each has read it; its
            result depends on nothing but the number.
        numbers: Of clips, say.
        num_workers: Processes beside this one, one thread each; 0: in this one.

    Raises:
        Exception: Whatever `make` raised, for the first number at which it did.
    """
    if num_workers == 0:
        yield from map(make, numbers)
        return
    # A process that has used a GPU must not be forked.
    spawned = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(num_workers, spawned, _start, (make,)) as pool:
        yield from pool.map(_make, numbers)


def _start(make: Callable[[int], Any]) -> None:
    global _made_by
    _made_by = make
    cv2.setNumThreads(1)
    torch.set_num_threads(1)


def _make(number: int) -> Any:
    assert _made_by is not None, "a worker is started by make_in_workers"
    return _made_by(number)
