"""A shot of the toy model, for the tests of the pipeline."""

from typing import Any

from torch import Tensor

from layert2v_model.pipeline import ShotPrompts
from layert2v_model.stack import Stack

PROMPTS = ShotPrompts("", "a beach", ("a red fox", "a blue ball"))
SEEDS = {"full": 1, "background": 1, "foreground_1": 1, "foreground_2": 1}
FORMAT: dict[str, Any] = {
    "width": 32,
    "height": 32,
    "num_frames": 5,
    "num_inference_steps": 2,
    "guidance_scale": 2.0,
    "stream_seeds": SEEDS,
}


def streams_of(stack: Stack) -> dict[str, Tensor]:
    """Name the pixels of a stack by the streams that they come from."""
    streams = {"full": stack.full_TCHW, "background": stack.background.rgb_TCHW}
    for number, layer in enumerate(stack.foregrounds, start=1):
        streams[f"foreground_{number}"] = layer.rgb_TCHW
        streams[f"alpha_{number}"] = layer.alpha_T1HW
    return streams
