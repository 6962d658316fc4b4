from typing import Any

import pytest

from layert2v_model.network.step_cache import enable_step_cache
from support.context_parallel import SIZES, run
from support.toy_model import make_toy_transformer


@pytest.fixture(scope="module")
def ranks(tmp_path_factory: pytest.TempPathFactory) -> list[dict[str, Any]]:
    """What two processes saw that shared the tokens of some shots."""
    return run(tmp_path_factory.mktemp("processes"))


@pytest.mark.slow
@pytest.mark.parametrize("is_per_frame", [False, True])
@pytest.mark.parametrize("number", range(len(SIZES)), ids=map(str, SIZES))
def test_two_processes_give_what_one_gives(
    number: int, is_per_frame: bool, ranks: list[dict[str, Any]]
) -> None:
    """With a timestep for each stream, and with one for each frame, too."""
    assert all(rank["differences"][2 * number + is_per_frame] < 1e-5 for rank in ranks)


@pytest.mark.slow
def test_all_processes_skip_the_same_steps(ranks: list[dict[str, Any]]) -> None:
    first, second = (rank["cached"] for rank in ranks)

    assert 0 < first["num_skipped"] < 5
    assert first == second


def test_a_cache_is_refused_once_tokens_are_split() -> None:
    transformer = make_toy_transformer()
    transformer._parallel_config = object()

    with pytest.raises(ValueError, match="enable the step cache before"):
        enable_step_cache(transformer, 0.1)
