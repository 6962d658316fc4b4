"""Skipping most of a denoising step where it changes little: approximate, off unless enabled.

Shape letters: B batch, S streams, L tokens of a stream, D width.
"""

import math
from collections import deque
from dataclasses import dataclass, field
from typing import Any

import torch
from diffusers.hooks.first_block_cache import FBCBlockHook, FBCHeadBlockHook, FBCSharedBlockState
from diffusers.hooks.hooks import CacheContext, HookRegistry, StateManager
from torch import Tensor, distributed

from layert2v_model.network.transformer import LayerT2VTransformer3DModel

_HOOK = "layert2v_step_cache"
_CHANGES = 1000
"""Changes kept: a worker runs for months, and a job has 200 steps at most."""


@dataclass
class StepCache:
    """The account of a cache since it was enabled, over all jobs."""

    threshold: float
    """Largest relative change of a stream at which a step is skipped."""
    num_steps: int = 0
    """Calls of the transformer."""
    num_skipped: int = 0
    """Calls that ran the first block only."""
    changes: deque[float] = field(default_factory=lambda: deque(maxlen=_CHANGES), repr=False)
    """The change that decided each of the last calls; infinite where there was nothing to compare
    with."""

    def decide(self, change: float) -> bool:
        """Say whether the whole step must be computed, and take a note."""
        must_compute = not change <= self.threshold
        self.num_steps += 1
        self.num_skipped += not must_compute
        self.changes.append(change)
        return must_compute


def enable_step_cache(transformer: LayerT2VTransformer3DModel, threshold: float) -> StepCache:
    """Let steps reuse the last computed step's blocks where the first block changes little.

    The stream that changes most decides for all. By a mean over all tokens, as the library decides,
    pictures that stand still would out-vote a matte that starts to move. Over several devices the
    largest change decides, so that all do the same. The cache is emptied by
    `transformer._reset_stateful_cache()`, which the pipeline calls after every job.

    Args:
        transformer: Changed in place. It needs at least two blocks.
        threshold: Relative mean change of the first block's residual, from 0 (exact: only a step
            whose first block gives the very same is skipped); 0.05 to 0.2 are usual.

    Returns:
        The account of steps. What they cost in quality the caller has to measure.

    Raises:
        ValueError: The threshold is out of range, there are too few blocks, a cache is on already,
            or tokens are split over devices already.

    Source:
        The first-block cache of ParaAttention, as in `diffusers.hooks.first_block_cache`.
    """
    if not 0 <= threshold < math.inf:
        raise ValueError(f"the threshold is {threshold}, but it must be 0 or more: use 0.1")
    if len(transformer.blocks) < 2:
        raise ValueError("one block leaves nothing to skip: leave the step cache off")
    if is_step_cache_enabled(transformer):
        raise ValueError("the step cache is on already; disable it first")
    if transformer._parallel_config is not None:
        # The cache's hook must lie inside the splitting hook, or it compares other shapes.
        raise ValueError("tokens are split over devices already; enable the step cache before that")
    cache = StepCache(threshold)
    state = _AnyContext(FBCSharedBlockState)
    first, *rest = transformer.blocks
    hooks = [_StreamwiseHook(state, cache, transformer), *(FBCBlockHook(state) for _ in rest)]
    hooks[-1].is_tail = True
    for block, hook in zip((first, *rest), hooks, strict=True):
        HookRegistry.check_if_exists_or_initialize(block).register_hook(hook, _HOOK)
    HookRegistry.check_if_exists_or_initialize(transformer).invalidate_child_registries_cache()
    return cache


def disable_step_cache(transformer: LayerT2VTransformer3DModel) -> None:
    """Compute every step again; without an enabled cache nothing happens."""
    registry = HookRegistry.check_if_exists_or_initialize(transformer)
    registry.remove_hook(_HOOK, recurse=True)
    registry.invalidate_child_registries_cache()


def is_step_cache_enabled(transformer: LayerT2VTransformer3DModel) -> bool:
    """Say whether steps may be skipped."""
    registry = HookRegistry.check_if_exists_or_initialize(transformer.blocks[0])
    return registry.get_hook(_HOOK) is not None


class _AnyContext(StateManager):
    """One state where the caller names no context: guidance is batched, so one is enough."""

    @property
    def context(self) -> CacheContext:
        return self._context or CacheContext("step")


class _StreamwiseHook(FBCHeadBlockHook):
    """Decide by the stream that changes most, on all devices alike."""

    def __init__(
        self, state: StateManager, cache: StepCache, transformer: LayerT2VTransformer3DModel
    ) -> None:
        super().__init__(state, cache.threshold)
        self.cache = cache
        self.transformer = transformer

    @torch.compiler.disable
    def _should_compute_remaining_blocks(self, hidden_states_residual: Tensor) -> bool:
        last_BSLD = self.state_manager.get_state().head_block_residual
        if last_BSLD is None or last_BSLD.shape != hidden_states_residual.shape:
            return self.cache.decide(math.inf)
        change = largest_change(hidden_states_residual, last_BSLD)
        group = _token_group(self.transformer)
        if group is not None:
            distributed.all_reduce(change, distributed.ReduceOp.MAX, group)
        return self.cache.decide(change.item())


def largest_change(now_BSLD: Tensor, before_BSLD: Tensor) -> Tensor:
    """Return the largest relative mean change of any stream: a scalar, float32."""
    change_BS = (now_BSLD.float() - before_BSLD.float()).abs().mean(dim=(2, 3))
    size_BS = before_BSLD.float().abs().mean(dim=(2, 3))
    return (change_BS / size_BS.clamp_min(torch.finfo(torch.float32).tiny)).amax()


def _token_group(transformer: LayerT2VTransformer3DModel) -> Any:
    """Find the process group over which tokens are split, None on one device."""
    config = transformer._parallel_config
    parallel = None if config is None else config.context_parallel_config
    return None if parallel is None else parallel._flattened_mesh.get_group()
