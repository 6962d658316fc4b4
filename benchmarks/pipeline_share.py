"""Share of a take's time spent outside the transformer and the VAEs, on the shipped model."""

import time
from contextlib import ExitStack
from typing import Any

from torch import nn

from benchmarks.machine import precision_of
from benchmarks.pairs import NUM_PAIRS, Pairs, alternate
from benchmarks.rows import Row
from benchmarks.shipped import load_shipped, shot
from layert2v_model.pipeline import LayerT2VPipeline


class Stopwatch:
    """Adds up the time inside modules."""

    def __init__(self) -> None:
        self.seconds = 0.0
        self._begun = 0.0

    def watch(self, module: nn.Module, handles: ExitStack) -> None:
        """Watch a module's forward passes until `handles` is closed."""
        handles.callback(module.register_forward_pre_hook(self._start).remove)
        handles.callback(module.register_forward_hook(self._stop).remove)

    def _start(self, *_: Any) -> None:
        self._begun = time.perf_counter()

    def _stop(self, *_: Any) -> None:
        self.seconds += time.perf_counter() - self._begun


def rows(*, toy: bool) -> list[Row]:
    """Time takes and their networks. A pair comes from one take, so both meet any neighbour."""
    pipeline = load_shipped()
    steps = 1 if toy else 24
    pipeline(**shot(1))
    take = {"take": lambda: _outside_and_all(pipeline, steps)}
    measured = alternate(take, 1 if toy else NUM_PAIRS, num_warm_ups=0)["take"]
    pairs = Pairs(*zip(*measured, strict=True))
    case = f"outside transformer and VAE against all, two foregrounds, {steps} steps"
    precision = precision_of(pipeline.transformer)
    return [Row.paired("pipeline_share", case, "take, s", precision, pairs, 0.05)]


def _outside_and_all(pipeline: LayerT2VPipeline, steps: int) -> tuple[float, float]:
    networks = Stopwatch()
    with ExitStack() as handles:
        for vae in (pipeline.vae, pipeline.alpha_vae):
            for part in (vae.encoder, vae.decoder, vae.quant_conv, vae.post_quant_conv):
                networks.watch(part, handles)
        networks.watch(pipeline.transformer, handles)
        begun = time.perf_counter()
        pipeline(**shot(steps))
        whole = time.perf_counter() - begun
    return whole - networks.seconds, whole
