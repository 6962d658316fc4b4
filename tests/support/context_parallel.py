"""Two processes on one CPU that share the tokens of a shot; each writes what it saw."""

import datetime
import json
import time
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, distributed, multiprocessing

from layert2v_model.caching import enable_step_cache
from layert2v_model.parallel import enable_context_parallel
from layert2v_model.transformer import LayerT2VTransformer3DModel
from support.toy_inputs import toy_inputs
from support.toy_model import make_toy_transformer

NUM_PROCESSES = 2

SIZES = [(s, *size) for s in (4, 6) for size in ((2, 4, 6), (3, 4, 6), (3, 2, 6))]
"""Streams, latent frames, rows and columns: tokens fall into 6 and 6, 9 and 9, 5 and 4."""


def run(scratch: Path, deadline_s: float) -> list[dict[str, Any]]:
    """Do all that this module knows in every process and return what each saw, by rank.

    Processes that have written what they saw are killed: gloo's own end was seen to abort one
    (`terminate called without an active exception`).

    Raises:
        ProcessRaisedException, ProcessExitedException: One ended before it had written.
        TimeoutError: They were not done in time; they are killed.
    """
    written = [scratch / f"{rank}.json" for rank in range(NUM_PROCESSES)]
    processes = multiprocessing.spawn(
        _process, (str(scratch), deadline_s), nprocs=NUM_PROCESSES, join=False
    )
    end = time.monotonic() + deadline_s
    try:
        while not all(path.exists() for path in written):
            processes.join(timeout=0.1)
            if time.monotonic() > end:
                raise TimeoutError(f"{NUM_PROCESSES} processes were not done in {deadline_s} s")
    finally:
        for process in processes.processes:
            process.kill()
            process.join()
    return [json.loads(path.read_text()) for path in written]


def _process(rank: int, scratch: str, deadline_s: float) -> None:
    torch.set_num_threads(1)
    # The library asks for accelerators even where the processes share a CPU.
    torch.accelerator.device_count = lambda: 1  # type: ignore[assignment]
    distributed.all_gather = _all_gather
    distributed.init_process_group(
        "gloo",
        init_method=f"file://{scratch}/meeting",
        rank=rank,
        world_size=NUM_PROCESSES,
        timeout=datetime.timedelta(seconds=deadline_s),
    )
    with torch.no_grad():
        seen = {"differences": differences(), "cached": cached()}
    partial = Path(scratch) / f"{rank}.part"
    partial.write_text(json.dumps(seen))
    partial.replace(partial.with_suffix(".json"))
    time.sleep(deadline_s)  # until it is killed, with the others


def _all_gather(gathered: list[Tensor], own: Tensor, group: Any = None) -> None:
    """Gather tensors of unequal sizes, as NCCL does and gloo does not."""
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
    """Move the tokens of the last process only, more each step, and tell what was skipped."""
    transformer = _transformer()
    cache = enable_step_cache(transformer, threshold=0.1)
    enable_context_parallel(transformer, NUM_PROCESSES)
    latents, timestep, text = toy_inputs(4, 2)
    total = 0.0
    for step in range(6):
        latents[:, :, :, 1] *= 1 + 0.1 * step
        total += transformer(latents, timestep, text, return_dict=False)[0].sum().item()
    return {"changes": list(cache.changes), "num_skipped": cache.num_skipped, "total": total}
