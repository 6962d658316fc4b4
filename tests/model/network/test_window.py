import pytest
import torch
from torch import Tensor

from layert2v_model.network.window import FrameWindow, attend_windowed


def _dense(query: Tensor, key: Tensor, value: Tensor, reach: int) -> Tensor:
    """Compute the same in float64 with a mask over all pairs of tokens."""
    _, streams, frames, tokens, _, _ = query.shape
    frame = torch.arange(frames).repeat_interleave(tokens).repeat(streams)
    stream = torch.arange(streams).repeat_interleave(frames * tokens)
    is_seen = (stream[:, None] == stream) | ((frame[:, None] - frame).abs() <= reach)
    out = torch.nn.functional.scaled_dot_product_attention(
        *(x.double().flatten(1, 3).transpose(1, 2) for x in (query, key, value)), attn_mask=is_seen
    )
    return out.transpose(1, 2).reshape(query.shape)


def _inputs(scale: float = 1.0) -> tuple[Tensor, Tensor, Tensor]:
    torch.manual_seed(5)
    query, key, value = (torch.randn(2, 4, 5, 6, 2, 16) for _ in range(3))
    return scale * query, key, value


@pytest.mark.parametrize("reach", [0, 1, 2, 4])
@pytest.mark.parametrize("backend", [None, "_native_math"])
def test_gathered_and_joined_windows_equal_a_dense_mask(backend: str | None, reach: int) -> None:
    inputs = _inputs()

    with torch.no_grad():
        out = attend_windowed(*inputs, FrameWindow(5, reach), backend)

    torch.testing.assert_close(out.double(), _dense(*inputs, reach), atol=1e-6, rtol=1e-6)


def test_joining_loses_nothing_where_a_query_sees_little_but_its_own_window() -> None:
    query, key, value = _inputs()
    query = 30 * key

    with torch.no_grad():
        out = attend_windowed(query, key, value, FrameWindow(5, 1))

    torch.testing.assert_close(out.double(), _dense(query, key, value, 1), atol=1e-5, rtol=1e-5)


def test_a_window_in_bfloat16_is_as_exact_as_bfloat16() -> None:
    inputs = tuple(x.bfloat16() for x in _inputs(scale=3.0))

    with torch.no_grad():
        out = attend_windowed(*inputs, FrameWindow(5, 1))

    assert out.dtype == torch.bfloat16
    assert (out.double() - _dense(*inputs, 1)).abs().max() < 0.02


def test_a_window_is_cut_at_both_ends_of_the_shot() -> None:
    window = FrameWindow(num_frames=5, reach=2)

    assert [window.around(frame).start for frame in range(5)] == [0, 0, 0, 1, 2]
    assert list(range(5))[window.around(4)] == [2, 3, 4]
