"""The shipped model and a shot for it."""

from pathlib import Path
from typing import Any

import torch
from torch import Tensor

import layert2v_model
from layert2v_model.cost.precision import decide_precision
from layert2v_model.loading import load_pipeline
from layert2v_model.pipeline import LayerT2VPipeline, ShotPrompts

WIDTH, HEIGHT, NUM_FRAMES = 96, 64, 9

PROMPTS = ShotPrompts(
    full="",
    background="a green meadow under a blue sky",
    foregrounds=("a fox in the middle", "a red ball in the middle"),
)


def load_shipped() -> LayerT2VPipeline:
    """Load `tiny` as the backend does."""
    assert layert2v_model.__file__ is not None
    folder = Path(layert2v_model.__file__).parent / "tiny"
    return load_pipeline(folder, decide_precision(device=torch.device("cpu")).dtype)


def shot(num_inference_steps: int, given: dict[str, Tensor] | None = None) -> dict[str, Any]:
    """Return the arguments of a run with two foregrounds and guidance."""
    torch.manual_seed(0)
    return {
        "prompts": PROMPTS,
        "width": WIDTH,
        "height": HEIGHT,
        "num_frames": NUM_FRAMES,
        "num_inference_steps": num_inference_steps,
        "guidance_scale": 3.0,
        "stream_seeds": {"full": 1, "background": 2, "foreground_1": 3, "foreground_2": 4},
        "given": given,
    }
