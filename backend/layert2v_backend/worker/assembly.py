"""Connects the model and the disk. Frames are finished and written while later ones are decoded."""

from concurrent.futures import Future, ThreadPoolExecutor
from typing import Self

import torch

from layert2v_backend.worker.writing import TakeWriter
from layert2v_domain.job import FinishingReport
from layert2v_domain.shot import Shot
from layert2v_model.finishing.finish import Finishing
from layert2v_model.stack import Stack


class Assembly:
    """Finishes a take and gives its frames to the writer.

    This is a context manager. After it, no thread finishes frames any more. `finish` raises the
    errors of its threads.
    """

    def __init__(self, shot: Shot, writer: TakeWriter) -> None:
        self._shot, self._writer = shot, writer
        self._pool = ThreadPoolExecutor(torch.get_num_threads(), thread_name_prefix="assembly")
        self._finishing: Finishing | None = None
        self._taken: list[Future[None]] = []

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._pool.shutdown(cancel_futures=True)

    def take(self, stack: Stack, frames: slice) -> None:
        """Take finished frames of the model. This serves the pipeline's `on_frames`."""
        for frame in range(self._shot.num_frames)[frames]:
            if self._shot.skip_finishing:
                self._writer.write(stack, frame)
                continue
            if self._finishing is None:
                self._finishing = Finishing(stack, _kept(self._shot))
            taken = self._pool.submit(self._finishing.take, slice(frame, frame + 1))
            self._taken.append(taken)

    def finish(self) -> FinishingReport | None:
        """Finish all frames and give the report, or None if the shot asks for no finishing."""
        if self._finishing is None:
            return None
        for taken in self._taken:
            taken.result()
        finished = self._finishing.finish(self._writer.write)
        return FinishingReport(**vars(finished.report))


def _kept(shot: Shot) -> frozenset[int]:
    layers = enumerate(shot.layers)
    return frozenset(layer_index for layer_index, layer in layers if layer.kept)
