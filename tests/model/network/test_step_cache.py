import pytest
import torch

from layert2v_model.network.step_cache import (
    StepCache,
    disable_step_cache,
    enable_step_cache,
    is_step_cache_enabled,
    largest_change,
)
from layert2v_model.network.transformer import LayerT2VTransformer3DModel
from layert2v_model.pipeline import LayerT2VPipeline, ShotPrompts
from layert2v_model.stack import Stack
from support.toy_inputs import toy_inputs
from support.toy_model import make_toy_pipeline, make_toy_transformer


@pytest.fixture
def transformer() -> LayerT2VTransformer3DModel:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return make_toy_transformer(num_layers=3).eval()


def _velocity(
    transformer: LayerT2VTransformer3DModel, nudge: dict[int, float] | None = None
) -> torch.Tensor:
    """Run one step, some streams' latents a little moved."""
    latents, timestep, text = toy_inputs(4)
    for stream, amount in (nudge or {}).items():
        latents[:, stream] += amount * latents[:, stream].roll(1, -1)
    with torch.inference_mode():
        return transformer(latents, timestep, text, return_dict=False)[0]


def test_a_step_that_changes_nothing_is_skipped_and_gives_the_same(transformer) -> None:
    wanted = _velocity(transformer)
    cache = enable_step_cache(transformer, threshold=0.0)

    found = [_velocity(transformer) for _ in range(3)]

    assert (cache.num_steps, cache.num_skipped) == (3, 2)
    assert all(torch.allclose(velocity, wanted, atol=1e-6) for velocity in found)


def test_a_step_that_changes_much_is_computed(transformer) -> None:
    wanted = _velocity(transformer, {0: 0.9, 1: 0.9})
    cache = enable_step_cache(transformer, threshold=0.1)
    _velocity(transformer)

    found = _velocity(transformer, {0: 0.9, 1: 0.9})

    assert cache.num_skipped == 0
    assert torch.allclose(found, wanted, atol=1e-6)


def test_a_small_change_is_close_to_the_computed_step(transformer) -> None:
    wanted = _velocity(transformer, {0: 0.01})
    cache = enable_step_cache(transformer, threshold=0.1)
    _velocity(transformer)

    found = _velocity(transformer, {0: 0.01})

    assert cache.num_skipped == 1
    assert 0 < (found - wanted).abs().mean() < 0.02 * wanted.abs().mean()


def test_one_moving_stream_is_not_outvoted_by_those_that_stand_still(transformer) -> None:
    cache = enable_step_cache(transformer, threshold=0.0)
    _velocity(transformer)
    _velocity(transformer, {3: 0.5})
    largest = cache.changes[-1]
    disable_step_cache(transformer)

    # Above what a mean over all streams could reach, below what the matte itself has.
    cache = enable_step_cache(transformer, threshold=0.9 * largest)
    _velocity(transformer)
    _velocity(transformer, {3: 0.5})

    assert cache.num_skipped == 0


def test_the_largest_change_is_of_one_stream_alone() -> None:
    before = torch.ones(2, 4, 5, 3)
    now = before.clone()
    now[1, 3] *= 1.5

    assert largest_change(now, before).item() == pytest.approx(0.5)


def test_a_stream_that_was_nothing_and_stays_nothing_does_not_change() -> None:
    zeros = torch.zeros(1, 4, 5, 3)

    assert largest_change(zeros, zeros).item() == 0


def test_a_change_that_is_not_a_number_is_computed() -> None:
    cache = StepCache(threshold=0.5)

    assert cache.decide(float("nan"))


def test_a_shot_of_another_size_is_never_compared(transformer) -> None:
    cache = enable_step_cache(transformer, threshold=100.0)
    _velocity(transformer)

    with torch.inference_mode():
        transformer(*toy_inputs(6), return_dict=False)

    assert cache.num_skipped == 0


def test_without_the_cache_every_step_is_computed_again(transformer) -> None:
    wanted = _velocity(transformer, {0: 0.9})
    enable_step_cache(transformer, threshold=100.0)
    _velocity(transformer)

    disable_step_cache(transformer)

    assert not is_step_cache_enabled(transformer)
    assert torch.equal(_velocity(transformer, {0: 0.9}), wanted)


def test_contexts_of_the_caller_keep_states_of_their_own(transformer) -> None:
    cache = enable_step_cache(transformer, threshold=0.0)

    for name in ("wanted", "unwanted"):
        with transformer.cache_context(name):
            _velocity(transformer)

    assert cache.num_skipped == 0


@pytest.mark.parametrize("threshold", [-0.1, float("nan"), float("inf")])
def test_a_threshold_out_of_range_is_refused(threshold: float, transformer) -> None:
    with pytest.raises(ValueError, match="must be 0 or more"):
        enable_step_cache(transformer, threshold)


def test_a_second_cache_is_refused(transformer) -> None:
    enable_step_cache(transformer, 0.1)

    with pytest.raises(ValueError, match="on already"):
        enable_step_cache(transformer, 0.1)


def test_a_model_of_one_block_is_refused() -> None:
    with pytest.raises(ValueError, match="nothing to skip"):
        enable_step_cache(make_toy_transformer(num_layers=1), 0.1)


# ---------------------------------------------------------------------------------------------
# Jobs


class _Stopped(Exception):
    pass


def _stop_at_step_3(stage: str, step: int, num_steps: int) -> None:
    if stage == "denoising" and step == 3:
        raise _Stopped


def _job(pipeline: LayerT2VPipeline, on_progress=None, seed: int = 1) -> Stack:
    return pipeline(
        ShotPrompts("", "a beach", ("a fox",)),
        width=32,
        height=32,
        num_frames=5,
        num_inference_steps=4,
        guidance_scale=2.0,
        stream_seeds={"full": seed, "background": seed, "foreground_1": seed},
        on_progress=on_progress,
    )


@pytest.fixture
def pipeline(tmp_path) -> LayerT2VPipeline:
    return make_toy_pipeline(tmp_path)


@pytest.mark.slow
def test_a_job_is_told_how_many_steps_were_skipped(pipeline) -> None:
    cache = enable_step_cache(pipeline.transformer, threshold=10.0)

    _job(pipeline)

    assert (cache.num_steps, cache.num_skipped) == (4, 3)


@pytest.mark.slow
def test_a_job_knows_nothing_of_the_one_before(pipeline) -> None:
    enable_step_cache(pipeline.transformer, threshold=10.0)
    wanted = _job(pipeline)

    _job(pipeline, seed=2)

    assert torch.equal(_job(pipeline).full_TCHW, wanted.full_TCHW)


@pytest.mark.slow
def test_a_job_knows_nothing_of_one_that_was_aborted(pipeline) -> None:
    enable_step_cache(pipeline.transformer, threshold=10.0)
    wanted = _job(pipeline)

    with pytest.raises(_Stopped):
        _job(pipeline, on_progress=_stop_at_step_3, seed=2)

    assert torch.equal(_job(pipeline).full_TCHW, wanted.full_TCHW)


def test_the_account_of_changes_does_not_grow_for_ever() -> None:
    cache = StepCache(0.1)

    for _ in range(5000):
        cache.decide(0.5)

    assert cache.num_steps == 5000
    assert len(cache.changes) <= 1000
