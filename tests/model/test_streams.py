import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from layert2v_model.errors import InvalidShot
from layert2v_model.streams import (
    batch_stream_text,
    noise_seed,
    num_foregrounds_of,
    prompt_names,
    stream_layout,
    stream_names,
    stream_text,
    visible_prompts,
)

_STATES = {name: torch.full((k + 1, 2), float(k)) for k, name in enumerate(prompt_names(2))}


def test_streams_stand_in_the_released_order_and_go_on_in_pairs() -> None:
    assert stream_names(1) == ("full", "background", "foreground_1", "alpha_1")
    assert stream_names(2)[4:] == ("foreground_2", "alpha_2")
    assert [stream.role for stream in stream_layout(1)] == [0, 1, 2, 3]


@given(st.integers(1, 6))
def test_the_number_of_foregrounds_is_read_off_the_number_of_streams(count: int) -> None:
    assert num_foregrounds_of(len(stream_names(count))) == count


@pytest.mark.parametrize("num_streams", [0, 2, 3, 5])
def test_an_impossible_number_of_streams_is_refused(num_streams: int) -> None:
    with pytest.raises(InvalidShot, match=str(num_streams)):
        num_foregrounds_of(num_streams)


def test_a_shot_without_foregrounds_is_refused() -> None:
    with pytest.raises(InvalidShot, match="at least 1 foreground"):
        stream_layout(0)


def test_released_layers_read_the_full_prompt_and_their_own() -> None:
    assert visible_prompts("released", 2) == (
        ("full", "background", "foreground_1", "foreground_2"),
        ("full", "background"),
        ("full", "foreground_1"),
        ("full", "foreground_1"),
        ("full", "foreground_2"),
        ("full", "foreground_2"),
    )


def test_isolated_layers_read_only_their_own_prompt() -> None:
    full, background, *foregrounds = visible_prompts("isolated", 2)

    assert full == prompt_names(2)
    assert background == ("background",)
    assert foregrounds == [("foreground_1",)] * 2 + [("foreground_2",)] * 2


def test_changing_a_foregrounds_prompt_leaves_the_isolated_backgrounds_text() -> None:
    other = {**_STATES, "foreground_1": torch.ones(9, 2)}

    before, after = stream_text(_STATES, "isolated", 2), stream_text(other, "isolated", 2)

    assert torch.equal(before[1], after[1])
    assert torch.equal(before[4], after[4])
    assert before[2].shape != after[2].shape


def test_ragged_text_is_padded_and_masked() -> None:
    text, mask = batch_stream_text([stream_text(_STATES, "released", 2)])

    assert text.shape == (1, 6, 10, 2)
    assert mask is not None
    assert mask.sum(-1).tolist() == [[10, 3, 4, 4, 5, 5]]
    assert text[~mask].abs().max() == 0


def test_text_of_one_length_needs_no_mask() -> None:
    text, mask = batch_stream_text([[torch.ones(3, 2)] * 4] * 2)

    assert text.shape == (2, 4, 3, 2)
    assert mask is None


def test_a_streams_seed_never_changes() -> None:
    # sha256("7/background"), first 63 bits: shots made today must be made again tomorrow.
    assert noise_seed(7, "background") == 5937203744710802138
    assert noise_seed(7, "background") != noise_seed(7, "full")
    assert noise_seed(7, "full") != noise_seed(8, "full")
    assert 0 <= noise_seed(2**64, "full") < 2**63
