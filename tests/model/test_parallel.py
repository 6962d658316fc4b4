from typing import Any

import pytest

from layert2v_model.caching import enable_step_cache
from support.context_parallel import SIZES, run
from support.toy_model import make_toy_transformer


@pytest.fixture(scope="module")
def ranks(tmp_path_factory: pytest.TempPathFactory) -> list[dict[str, Any]]:
    """What two processes saw that shared the tokens of some shots."""
    return run(tmp_path_factory.mktemp("processes"), deadline_s=100)


@pytest.mark.slow
@pytest.mark.parametrize("number", range(len(SIZES)), ids=map(str, SIZES))
def test_two_processes_give_what_one_gives(number: int, ranks: list[dict[str, Any]]) -> None:
    assert all(rank["differences"][number] < 1e-5 for rank in ranks)


@pytest.mark.slow
def test_all_processes_skip_the_same_steps(ranks: list[dict[str, Any]]) -> None:
    first, second = (rank["cached"] for rank in ranks)

    assert 0 < first["num_skipped"] < 5
    assert first == second


@pytest.mark.slow
def test_a_timestep_per_frame_is_refused_rather_than_wrong(ranks: list[dict[str, Any]]) -> None:
    assert all("use one device" in rank["refusal"] for rank in ranks)


def test_a_cache_is_refused_once_tokens_are_split() -> None:
    transformer = make_toy_transformer()
    transformer._parallel_config = object()

    with pytest.raises(ValueError, match="enable the step cache before"):
        enable_step_cache(transformer, 0.1)
