"""The price of layers: a step of ours against one of the library on as many tokens.

Both have the same weights, tokens and prompt. The library's model sees the streams as one long
video and one text. Ours reads its text once per job, as the pipeline does.
"""

import math
from collections.abc import Callable

import torch
from diffusers import WanTransformer3DModel
from torch import Tensor

from benchmarks.machine import precision_of
from benchmarks.memory import extra_peak_bytes
from benchmarks.models import TOY, WAN_1_3B, make_ours, one_video, plain_twin
from benchmarks.pairs import NUM_PAIRS, Pairs, alternate_seconds
from benchmarks.rows import Row
from layert2v_model.network.text import TextStates
from layert2v_model.network.transformer import LayerT2VTransformer3DModel

NUM_TEXT_TOKENS = 128

Grid = tuple[int, int, int]


@torch.inference_mode()
def rows(*, toy: bool) -> list[Row]:
    """Compare at two numbers of tokens, for one, two and three foregrounds."""
    ours = make_ours(TOY if toy else WAN_1_3B, num_blocks=2)
    plain = plain_twin(ours)
    # These are frames of tokens over all streams, and rows and columns of tokens.
    small, large = ((24, 1, 2), (48, 1, 3)) if toy else ((24, 9, 14), (48, 14, 18))
    calls = {grid: compared_calls(ours, plain, grid) for grid in (small, large)}
    _check_equal(calls[small])
    num_pairs = 1 if toy else NUM_PAIRS
    seconds = {grid: alternate_seconds(calls[grid], num_pairs, num_warm_ups=0) for grid in calls}
    precision = precision_of(ours)
    return [row for grid in calls for row in _compared(grid, calls[grid], seconds[grid], precision)]


def compared_calls(
    ours: LayerT2VTransformer3DModel, plain: WanTransformer3DModel, grid: Grid
) -> dict[str, Callable[[], Tensor]]:
    """Return a step of the library's model, and of ours at several numbers of streams, by name.

    Args:
        ours: Our model. Both models share its weights.
        plain: The `plain_twin` of ours.
        grid: Frames of tokens over all streams, and rows and columns of tokens. It is equal for
            all.
    """
    frames, height, width = grid
    latents = torch.randn(1, 16, frames, 2 * height, 2 * width)
    text = torch.randn(1, NUM_TEXT_TOKENS, ours.config.text_dim)
    timestep = torch.tensor([500.0])
    calls = {"plain": lambda: plain(latents, timestep, text, return_dict=False)[0]}
    for streams in (4, 6, 8):
        joint = torch.stack(latents.chunk(streams, dim=2), dim=1)
        read = ours.read_text(text[:, None].expand(-1, streams, -1, -1))
        calls[f"S = {streams}"] = _step(ours, joint, timestep, read)
    return calls


def _compared(
    grid: Grid,
    calls: dict[str, Callable[[], Tensor]],
    seconds: dict[str, list[float]],
    precision: str,
) -> list[Row]:
    peaks = {name: extra_peak_bytes(call) / 2**20 for name, call in calls.items()}
    found = []
    for name in list(calls)[1:]:
        case = f"{math.prod(grid)} tokens, {name}, against plain Wan"
        steps, memory = Pairs.of(seconds, name, "plain"), (peaks[name], peaks["plain"])
        found += [
            Row.paired("layers_price", case, "step, s", precision, steps, 1.05),
            Row("layers_price", case, "extra peak, MiB", precision, *memory, 1.1),
        ]
    return found


def _step(
    ours: LayerT2VTransformer3DModel, joint_BSCTHW: Tensor, timestep_B: Tensor, text: TextStates
) -> Callable[[], Tensor]:
    return lambda: one_video(ours(joint_BSCTHW, timestep_B, text, return_dict=False)[0])


def _check_equal(calls: dict[str, Callable[[], Tensor]]) -> None:
    """Check that both models give the same. This also warms them up."""
    plain, *layered = (call() for call in calls.values())
    for velocity in layered:
        torch.testing.assert_close(velocity, plain, atol=1e-4, rtol=1e-4)
