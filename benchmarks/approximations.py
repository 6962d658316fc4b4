"""The saving and the error of each approximation, on the shipped model.

The error is a take's distance from the exact take, against the distance of a take with other seeds.
0 is the same take, 1 a different one.
"""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from benchmarks.machine import precision_of
from benchmarks.pairs import NUM_PAIRS, Pairs, alternate_seconds
from benchmarks.regenerate import REFRESH
from benchmarks.rows import Row
from benchmarks.shipped import load_shipped, shot
from layert2v_model.cost.offload import enable_layerwise_casting
from layert2v_model.network.step_cache import disable_step_cache, enable_step_cache
from layert2v_model.pipeline import LayerT2VPipeline
from layert2v_model.sampling.reuse import kept_layers
from layert2v_model.stack import Stack

Make = Callable[[], Stack]
STEPS = 12
FEW = (8, 4)
"""Steps of shorter takes. Distilled checkpoints need 4 and 8, but this one is not distilled."""
OTHER_SEEDS = {"full": 11, "background": 12, "foreground_1": 13, "foreground_2": 14}
THRESHOLD = 0.1
"""Threshold of the step cache."""


def rows(*, toy: bool) -> list[Row]:
    """Compare few steps, 8-bit weights, the step cache, and given layers computed rarely."""
    pipeline, steps, num_pairs = load_shipped(), 2 if toy else STEPS, 1 if toy else NUM_PAIRS
    other = pipeline(**shot(steps) | {"stream_seeds": OTHER_SEEDS})
    exact = _maker(pipeline, steps)
    few = (1,) if toy else FEW
    ways = {f"{n} steps instead of {steps}": _maker(pipeline, n) for n in few}
    ways |= {
        "weights in fp8": _maker(_in_fp8(), steps),
        f"step cache at {THRESHOLD}": _cached(pipeline, steps),
    }
    given = kept_layers(exact(), regenerated=[2])
    regenerated = _maker(pipeline, steps, given=given)
    quick = _maker(pipeline, steps, given=given, refresh_given_every=REFRESH)
    case = f"one foreground regenerated, given layers computed in one step of {REFRESH}"
    precision = precision_of(pipeline.transformer)
    return [
        row
        for exactly, others in ((exact, ways), (regenerated, {case: quick}))
        for row in _rows(exactly, others, other, num_pairs, precision)
    ]


def _maker(pipeline: LayerT2VPipeline, steps: int, **changes: Any) -> Make:
    return lambda: pipeline(**{**shot(steps), **changes})


def _in_fp8() -> LayerT2VPipeline:
    pipeline = load_shipped()
    enable_layerwise_casting(pipeline.transformer)
    return pipeline


def _cached(pipeline: LayerT2VPipeline, steps: int) -> Make:
    def make() -> Stack:
        enable_step_cache(pipeline.transformer, THRESHOLD)
        try:
            return pipeline(**shot(steps))
        finally:
            disable_step_cache(pipeline.transformer)

    return make


def _rows(
    exact: Make, ways: dict[str, Make], other: Stack, num_pairs: int, precision: str
) -> list[Row]:
    """Time each way beside the exact way, and compare their takes."""
    seconds = alternate_seconds({"exact": exact, **ways}, num_pairs)
    name, take, found = "approximations", exact(), list[Row]()
    for case, make in ways.items():
        made = make()
        pairs = Pairs.of(seconds, case, "exact")
        found.append(Row.paired(name, case, "take, s", precision, pairs))
        for what, streams in (("full video", _full), ("mattes", _mattes)):
            far, farther = (_distance(streams(x), streams(take)) for x in (made, other))
            found.append(Row(name, case, f"{what}, RMS from exact", precision, far, farther))
    return found


def _full(take: Stack) -> Tensor:
    return take.full_TCHW


def _mattes(take: Stack) -> Tensor:
    return torch.cat([layer.alpha_T1HW for layer in take.foregrounds])


def _distance(a: Tensor, b: Tensor) -> float:
    """Give the root of the mean squared difference of pictures in [0, 1]."""
    return float((a.float() - b.float()).square().mean().sqrt())
