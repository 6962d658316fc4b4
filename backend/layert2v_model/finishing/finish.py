"""Finishing: a stack that flattens to its full video, with straight colour and clean plates.

The difference between the full video and the composite is shared among the layers. The background
takes it where it is clearly uncovered, and each foreground in its interior and edge. Hidden pixels
get the visible correction, extended smoothly (`docs/finishing.md`).

Shape letters: T frames, C channels, H, W, N picked pixels. Inside, frames are numpy (T, C, H, W),
float32, display-referred sRGB, RGB straight; k counts foregrounds from 0, back to front.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
import torch

from layert2v_model.finishing.corrections import (
    WorkedStack,
    correct_background,
    correct_colours,
    finish_frame,
)
from layert2v_model.finishing.frames import each_frame, frames_of
from layert2v_model.finishing.report import FinishReport, measure
from layert2v_model.stack import Layer, Stack
from layert2v_model.vae.not_finite import check_frame

OnFrame = Callable[[Stack, int], None]
"""Called with a finished stack and the number of one of its frames that is done."""


@dataclass(frozen=True, eq=False)
class Finished:
    """A finished stack and what finishing it did."""

    stack: Stack
    """Same layers in the same order. Kept ones are the same objects. `full_TCHW` is untouched."""
    report: FinishReport
    """Figures before and after."""


class Finishing:
    """Finishing of a stack that is still being made. Work on single frames is done early.

    The colour of foregrounds needs one frame, the plate needs all of them, and the edges need one
    again. So call `take` for frames as they come, then `finish`, which hands out each frame as it
    is done.
    """

    def __init__(
        self, stack: Stack, kept: frozenset[int] = frozenset(), num_threads: int | None = None
    ) -> None:
        """Begin.

        Args:
            stack: Straight sRGB in [0, 1]; not modified. On the CPU its frames may be drawn until
                they are used.
            kept: Indices of layers that get no share (0 is the background): they come back as the
                same objects, and the others take what they can.
            num_threads: Frames worked on at once; default: as many as torch uses threads. It
                changes no value.

        Raises:
            ValueError: `kept` names a layer that the stack does not have.
        """
        unknown = sorted(kept - set(range(len(stack.layers))))
        if unknown:
            raise ValueError(
                f"kept names layer {unknown[0]}; the last layer is {len(stack.layers) - 1}"
            )
        self._stack, self._num_threads = stack, num_threads
        self._shot = _shot_of(stack, kept)
        # Views, so that they show what is drawn later.
        self._colours = [frames_of(layer.rgb_TCHW) for layer in stack.layers]
        self._alphas = [frames_of(layer.alpha_T1HW)[:, 0] for layer in stack.foregrounds]
        self._shows = [np.zeros(len(stack.full_TCHW), bool) for _ in stack.foregrounds]

    def take(self, frames: slice) -> None:
        """Take frames that are drawn, each once. It may run beside other calls of it.

        Raises:
            NotFinite: A layer, or the full video, holds NaN or infinity in one of them.
        """
        for t in range(len(self._shot.full_TCHW))[frames]:
            self._copy(t)
            correct_colours(self._shot, t)

    def _copy(self, t: int) -> None:
        """Make own copies of a frame, clipped to [0, 1]."""
        shot = self._shot
        check_frame("the full video", t, shot.full_TCHW[t])
        for index, source in enumerate(self._colours):
            check_frame(_name_of(index), t, source[t])
        for index, source in enumerate(self._alphas, start=1):
            check_frame(f"the alpha of {_name_of(index)}", t, source[t])
        own = [shot.background_TCHW, *shot.colours, *shot.alphas]
        for source, copy in zip((*self._colours, *self._alphas), own, strict=True):
            np.clip(source[t], 0, 1, out=copy[t])
        for shows_T, alpha_THW in zip(self._shows, shot.alphas, strict=True):
            shows_T[t] = alpha_THW[t].any()

    def finish(self, on_frame: OnFrame | None = None) -> Finished:
        """Finish, all frames having been taken.

        Args:
            on_frame: Called with the finished stack and the number of a frame that is done, on the
                thread that did it. The order is not certain, and other frames may hold anything.

        Returns:
            The finished stack, float32 in [0, 1] on the device of the input, and its report.
            Deterministic.
        """
        shot = replace(self._shot, free=tuple(k for k in self._shot.free if self._shows[k].any()))
        views, num_frames = _stack_of(shot, self._stack), len(shot.full_TCHW)
        if shot.is_plate_free:
            correct_background(shot, self._num_threads)

        def work(t: int) -> None:
            finish_frame(shot, t)
            if on_frame:
                on_frame(views, t)

        each_frame(work, num_frames, self._num_threads)
        finished = _stack_of(shot, self._stack)
        return Finished(finished, measure(self._stack, finished, self._num_threads))


def finish(
    stack: Stack, kept: frozenset[int] = frozenset(), num_threads: int | None = None
) -> Finished:
    """Give a whole stack straight colour and share out what separates it from its full video.

    Arguments, result and errors are those of `Finishing`.
    """
    finishing = Finishing(stack, kept, num_threads)
    num_frames = len(stack.full_TCHW)
    each_frame(lambda t: finishing.take(slice(t, t + 1)), num_frames, num_threads)
    return finishing.finish()


def _name_of(index: int) -> str:
    return f"foreground_{index}" if index else "the background"


def _shot_of(stack: Stack, kept: frozenset[int]) -> WorkedStack:
    """Make room for the stack, and copy nothing yet."""
    full_TCHW = frames_of(stack.full_TCHW)
    count = len(stack.foregrounds)
    return WorkedStack(
        full_TCHW=full_TCHW,
        background_TCHW=np.empty_like(full_TCHW),
        colours=[np.empty_like(full_TCHW) for _ in range(count)],
        alphas=[np.empty_like(full_TCHW[:, 0]) for _ in range(count)],
        distances=[np.empty_like(full_TCHW[:, 0]) for _ in range(count)],
        free=tuple(k for k in range(count) if k + 1 not in kept),
        is_plate_free=0 not in kept,
    )


def _stack_of(shot: WorkedStack, stack: Stack) -> Stack:
    """The stack with the free layers replaced by what the shot holds now."""
    layers, device = list(stack.layers), stack.full_TCHW.device
    if shot.is_plate_free:
        rgb_TCHW = torch.from_numpy(shot.background_TCHW).to(device)
        layers[0] = replace(layers[0], rgb_TCHW=rgb_TCHW)
    for k in shot.free:
        rgb_TCHW = torch.from_numpy(shot.colours[k]).to(device)
        alpha_T1HW = torch.from_numpy(shot.alphas[k][:, None]).to(device)
        layers[k + 1] = Layer(layers[k + 1].role, rgb_TCHW, alpha_T1HW)
    return replace(stack, layers=tuple(layers))
