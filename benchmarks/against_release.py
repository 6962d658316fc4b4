"""A guided step against the release's approach, on the same weights and with equal output."""

from collections.abc import Callable

import torch
from torch import Tensor

from benchmarks.machine import precision_of
from benchmarks.memory import extra_peak_bytes
from benchmarks.models import TOY, WAN_1_3B, make_ours
from benchmarks.pairs import NUM_PAIRS, Pairs, alternate_seconds
from benchmarks.released_approach import ReleasedApproach
from benchmarks.rows import Row
from layert2v_model.network.transformer import LayerT2VTransformer3DModel
from layert2v_model.streams import batch_stream_text, stream_text

GUIDANCE_SCALE = 5.0
PROMPT_TOKENS = (70, 40, 30)
"""Tokens of the full prompt, the background and the foreground, as in long captions."""

NEGATIVE_TOKENS = 126
"""Tokens of the negative prompt. Source: Wan's has about as many in umT5."""


@torch.inference_mode()
def rows(*, toy: bool) -> list[Row]:
    """Compare one guided step of one foreground."""
    ours = make_ours(TOY if toy else WAN_1_3B, num_blocks=2)
    ours.layer_adaln.layer_modulation.normal_(std=0.3)
    release = ReleasedApproach(ours)
    calls = _calls(ours, release, frames=2, height=2, width=3)
    # The target is 1e-4 of a velocity, and guidance multiplies the rounding error by its scale.
    torch.testing.assert_close(
        calls["ours"](), calls["release"](), atol=GUIDANCE_SCALE * 1e-4, rtol=1e-4
    )
    frames, height, width = (6, 1, 3) if toy else (12, 14, 18)
    calls = _calls(ours, release, frames, height, width)
    seconds = alternate_seconds(calls, 1 if toy else NUM_PAIRS, num_warm_ups=0)
    peaks = {name: extra_peak_bytes(call) / 2**20 for name, call in calls.items()}
    case = f"{4 * frames * height * width} tokens, guided, one foreground, against the release"
    name, precision = "against_release", precision_of(ours)
    steps = Pairs.of(seconds, "ours", "release")
    return [
        Row.paired(name, case, "step, s", precision, steps, 1 / 1.15),
        Row(name, case, "extra peak, MiB", precision, peaks["ours"], peaks["release"], 0.6),
    ]


def _calls(
    ours: LayerT2VTransformer3DModel,
    release: ReleasedApproach,
    frames: int,
    height: int,
    width: int,
) -> dict[str, Callable[[], Tensor]]:
    latents = torch.randn(1, 4, 16, frames, 2 * height, 2 * width)
    timestep = torch.tensor([500.0])
    prompts = [torch.randn(n, ours.config.text_dim) for n in PROMPT_TOKENS]
    negative = torch.randn(NEGATIVE_TOKENS, ours.config.text_dim)
    by_name = dict(zip(("full", "background", "foreground_1"), prompts, strict=True))
    # This runs once per job, so it is no part of a step.
    read = ours.read_text(
        *batch_stream_text([stream_text(by_name, "released", 1), (negative,) * 4])
    )

    def step() -> Tensor:
        batch = latents.expand(2, -1, -1, -1, -1, -1)
        wanted, unwanted = ours(batch, timestep.expand(2), read, return_dict=False)[0].chunk(2)
        return unwanted + GUIDANCE_SCALE * (wanted - unwanted)

    return {
        "ours": step,
        "release": lambda: release.guided(latents, timestep, prompts, negative, GUIDANCE_SCALE),
    }
