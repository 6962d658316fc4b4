"""Two processes on one CPU that share the tokens of a shot. Each tells its results."""

import datetime
import threading
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, distributed

from layert2v_model.network.parallel import enable_context_parallel
from layert2v_model.network.step_cache import enable_step_cache
from layert2v_model.network.transformer import LayerT2VTransformer3DModel
from support.forked import forked
from support.toy_inputs import toy_inputs
from support.toy_model import make_toy_transformer
from support.waiting import HANG_S

NUM_PROCESSES = 2

SIZES = [(s, *size) for s in (4, 6) for size in ((2, 4, 6), (3, 4, 6), (3, 2, 6))]
"""Streams, latent frames, rows and columns. Tokens fall into 6 and 6, 9 and 9, 5 and 4."""


def run(scratch: Path) -> list[dict[str, Any]]:
    """Run all checks of this module in every process, and return the results by rank.

    Processes that have told their results are killed, because gloo's own end once aborted one
    (`terminate called without an active exception`).

    Raises:
        EOFError: A process ended before it had told.
        TimeoutError: A process had not told within `HANG_S`.
    """
    pipes = [forked().Pipe(duplex=False) for _ in range(NUM_PROCESSES)]
    processes = [
        forked().Process(target=_process, args=(rank, str(scratch), tells))
        for rank, (_, tells) in enumerate(pipes)
    ]
    for process, (_, tells) in zip(processes, pipes, strict=True):
        process.start()
        tells.close()
    try:
        return [_heard(hears) for hears, _ in pipes]
    finally:
        for process in processes:
            process.kill()
            process.join()


def _heard(hears: Connection) -> dict[str, Any]:
    if not hears.poll(HANG_S):
        raise TimeoutError(f"a process had not told its results within {HANG_S:g} s")
    seen: dict[str, Any] = hears.recv()
    return seen


def _process(rank: int, scratch: str, tells: Connection) -> None:
    # The library asks for accelerators even if the processes share a CPU.
    torch.accelerator.device_count = lambda: 1  # type: ignore[assignment]
    distributed.all_gather = _all_gather
    distributed.init_process_group(
        "gloo",
        init_method=f"file://{scratch}/meeting",
        rank=rank,
        world_size=NUM_PROCESSES,
        timeout=datetime.timedelta(seconds=HANG_S),
    )
    with torch.no_grad():
        tells.send({"differences": differences(), "cached": cached()})
    threading.Event().wait()  # The process waits here until it is killed with the others.


def _all_gather(gathered: list[Tensor], own: Tensor, group: Any = None) -> None:
    """Gather tensors of unequal sizes, which NCCL can do and gloo cannot."""
    for rank, tensor in enumerate(gathered):
        if rank == distributed.get_rank():
            tensor.copy_(own)
        distributed.broadcast(tensor, rank, group)


def _transformer() -> LayerT2VTransformer3DModel:
    torch.manual_seed(0)
    return make_toy_transformer(num_layers=3).eval()


def differences() -> list[float]:
    """Return the largest difference from one process alone, for both shots of each size."""
    transformer = _transformer()
    shots = [shot for size in SIZES for shot in _shots(*size)]
    wanted = [transformer(*shot, return_dict=False)[0] for shot in shots]
    enable_context_parallel(transformer, NUM_PROCESSES)
    found = [transformer(*shot, return_dict=False)[0] for shot in shots]
    pairs = zip(found, wanted, strict=True)
    return [(ours - theirs).abs().max().item() for ours, theirs in pairs]


def _shots(num_streams: int, frames: int, height: int, width: int) -> list[tuple[Tensor, ...]]:
    """Make a shot with a timestep for each stream, and one with a timestep for each frame too."""
    latents, timestep, text = toy_inputs(num_streams, frames, height, width)
    per_frame = 1000 * torch.rand(len(latents), num_streams, frames)
    return [(latents, timestep, text), (latents, per_frame, text)]


def cached() -> dict[str, Any]:
    """Move the tokens of the last process only, more each step, and tell the skipped steps."""
    transformer = _transformer()
    cache = enable_step_cache(transformer, threshold=0.1)
    enable_context_parallel(transformer, NUM_PROCESSES)
    latents, timestep, text = toy_inputs(4, 2)
    total = 0.0
    for step in range(6):
        latents[:, :, :, 1] *= 1 + 0.1 * step
        total += transformer(latents, timestep, text, return_dict=False)[0].sum().item()
    return {"changes": list(cache.changes), "num_skipped": cache.num_skipped, "total": total}
