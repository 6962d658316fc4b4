import pytest

from layert2v_backend.strikes import Attempt, num_strikes


def lost(*furthest: float) -> list[Attempt]:
    return [Attempt("lost", share) for share in furthest]


@pytest.mark.parametrize(
    ("attempts", "expected"),
    [
        ([], 0),
        (lost(0.0), 1),
        (lost(0.0, 0.0, 0.0), 3),
        (lost(0.5, 0.5, 0.5), 3),
        (lost(0.5, 0.51, 0.52), 3),
        (lost(0.2, 0.5, 0.8), 1),
        (lost(0.8, 0.2, 0.5), 3),
        ([Attempt("interrupted", 0.3)] * 5, 0),
        ([*lost(0.3), Attempt("interrupted", 0.3), *lost(0.3)], 2),
        ([*lost(0.3, 0.3), Attempt("interrupted", 0.9), *lost(0.9)], 1),
    ],
)
def test_deaths_count_since_the_last_new_progress(attempts: list[Attempt], expected: int) -> None:
    assert num_strikes(attempts) == expected
