"""Finishing at 1280x720, report included, against the seconds that a frame may take."""

from torch import Tensor
from torch.nn import functional

from benchmarks.rows import Row, median_seconds
from benchmarks.shipped import load_shipped, shot
from layert2v_model.finish import finish
from layert2v_model.stack import Layer, Stack

WANTED_S = 0.15
"""A frame, on two cores."""
WIDTH, HEIGHT = 1280, 720


def rows(*, toy: bool) -> list[Row]:
    """Finish an enlarged take of the shipped model, with one foreground and with two."""
    width, height = (WIDTH // 8, HEIGHT // 8) if toy else (WIDTH, HEIGHT)
    take = load_shipped()(**shot(1 if toy else 12))
    stacks = {n: _enlarged(take, n, width, height) for n in (1, 2)}
    calls = {str(n): lambda stack=stack: finish(stack) for n, stack in stacks.items()}
    seconds = median_seconds(calls, rounds=1 if toy else 5)
    num_frames = len(take.full_TCHW)
    return [
        Row("finishing", f"{width}x{height}, foregrounds: {n}, against {WANTED_S} s wanted",
            "frame, s", seconds[str(n)] / num_frames, WANTED_S, 1.0)
        for n in stacks
    ]  # fmt: skip


def _enlarged(take: Stack, num_foregrounds: int, width: int, height: int) -> Stack:
    """Enlarge a take's background and first foregrounds; its full video may then show more."""

    def enlarged(frames_TCHW: Tensor) -> Tensor:
        frames = functional.interpolate(frames_TCHW.float(), (height, width), mode="bilinear")
        return frames.clamp(0, 1)

    layers = [
        Layer(layer.role, enlarged(layer.rgb_TCHW), enlarged(layer.alpha_T1HW))
        for layer in take.layers[: num_foregrounds + 1]
    ]
    return Stack(tuple(layers), enlarged(take.full_TCHW))
