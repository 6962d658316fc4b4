"""Finishing at 1280x720, with its report, against the seconds allowed for a frame.

Seconds are absolute, so a neighbour on the machine shows in them. The cost of a second foreground
is a ratio of pairs.
"""

from torch import Tensor
from torch.nn import functional

from benchmarks.pairs import NUM_PAIRS, Pairs, alternate_seconds
from benchmarks.rows import Row
from benchmarks.shipped import load_shipped, shot
from layert2v_model.finishing.finish import finish
from layert2v_model.stack import Layer, Stack

WANTED_S = 0.15
"""Seconds for a frame on two cores."""
WIDTH, HEIGHT = 1280, 720


def rows(*, toy: bool) -> list[Row]:
    """Finish an enlarged take of the shipped model, with one foreground and with two."""
    width, height = (WIDTH // 8, HEIGHT // 8) if toy else (WIDTH, HEIGHT)
    take = load_shipped()(**shot(1 if toy else 12))
    stacks = {n: _enlarged(take, n, width, height) for n in (1, 2)}
    calls = {str(n): lambda stack=stack: finish(stack) for n, stack in stacks.items()}
    seconds = alternate_seconds(calls, 1 if toy else NUM_PAIRS)
    num_frames = len(take.full_TCHW)
    frame = {n: [x / num_frames for x in seconds[n]] for n in seconds}
    size, second = f"{width}x{height}", Pairs.of(frame, "2", "1")
    found = [
        Row.paired("finishing", f"{size}, foregrounds: {n}, against {WANTED_S} s wanted",
                   "frame, s", "float32", Pairs.against(frame[n], WANTED_S), 1.0)
        for n in frame
    ]  # fmt: skip
    case = f"{size}, two foregrounds against one"
    return [*found, Row.paired("finishing", case, "frame, s", "float32", second)]


def _enlarged(take: Stack, num_foregrounds: int, width: int, height: int) -> Stack:
    """Enlarge a take's background and first foregrounds. Its full video may then show more."""

    def enlarged(frames_TCHW: Tensor) -> Tensor:
        frames = functional.interpolate(frames_TCHW.float(), (height, width), mode="bilinear")
        return frames.clamp(0, 1)

    layers = [
        Layer(layer.role, enlarged(layer.rgb_TCHW), enlarged(layer.alpha_T1HW))
        for layer in take.layers[: num_foregrounds + 1]
    ]
    return Stack(tuple(layers), enlarged(take.full_TCHW))
