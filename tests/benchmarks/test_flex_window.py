import pytest
import torch
from torch.nn.attention.flex_attention import create_block_mask, flex_attention

from benchmarks.flex_window import BLOCK, _blocks_seen, window_mask


@pytest.mark.parametrize(("tokens", "reach"), [(60, 1), (130, 0), (256, 1), (1, 2)])
def test_blocks_are_those_of_the_library_without_a_mask_over_tokens(
    tokens: int, reach: int
) -> None:
    streams, frames = 4, 5
    frame_N = torch.arange(frames).repeat(streams)
    stream_N = torch.arange(streams).repeat_interleave(frames)
    is_seen_NN = (stream_N[:, None] == stream_N) | ((frame_N[:, None] - frame_N).abs() <= reach)

    is_some_QK, is_all_QK = _blocks_seen(is_seen_NN, tokens, BLOCK)

    mask = window_mask(streams, frames, tokens, reach, torch.device("cpu"))
    length = streams * frames * tokens
    whole = create_block_mask(
        mask.mask_mod, None, None, length, length, device="cpu", BLOCK_SIZE=BLOCK
    )
    partial = whole.to_dense()[0, 0].bool()
    assert torch.equal(is_some_QK, partial)
    assert torch.equal(is_some_QK.sum(1) - is_all_QK.sum(1), whole.kv_num_blocks[0, 0])


@pytest.mark.filterwarnings("ignore:flex_attention called without torch.compile")
def test_a_masks_blocks_say_what_its_rule_says() -> None:
    mask = window_mask(3, 4, 6, 1, torch.device("cpu"))
    query, key, value = (torch.randn(1, 2, 72, 16) for _ in range(3))

    by_rule = flex_attention(query, key, value, block_mask=mask)

    is_seen = mask.to_dense()[0, 0].repeat_interleave(6, 0).repeat_interleave(6, 1).bool()
    by_blocks = torch.nn.functional.scaled_dot_product_attention(
        query, key, value, attn_mask=is_seen
    )
    torch.testing.assert_close(by_rule, by_blocks, atol=1e-5, rtol=1e-5)
