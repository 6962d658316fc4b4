from concurrent.futures import ProcessPoolExecutor
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from layert2v_model.cost.device import Device
from layert2v_model.cost.estimate import (
    ModelSize,
    decode_bytes,
    denoise_bytes,
    estimate,
    step_flops,
)
from layert2v_model.shot import ShotFormat
from support import measured_peaks
from support.forked import forked
from support.toy_model import make_toy_model_folder, make_toy_vae
from support.waiting import HANG_S
from support.wan_sizes import WAN, WAN_VAE

SHOT = ShotFormat(672, 384, 81, num_foregrounds=2, num_inference_steps=50)
DEVICE = Device("a test", 8 << 30, flops_per_s=1e12)
MODEL = ModelSize(WAN, WAN_VAE, {"transformer": 3 << 30}, transformer_bytes=2)


def test_tokens_and_operations_of_wan_are_those_of_the_arithmetic() -> None:
    # Source: design notes, sizes of the 1.3 B model: 127 008 tokens, 3.3 PFLOP, attention 89 %.
    assert estimate(SHOT, MODEL, DEVICE).tokens == 127_008
    assert step_flops(SHOT, MODEL) == pytest.approx(3.3e15, rel=0.05)


def test_guidance_doubles_a_step_and_a_window_shortens_it() -> None:
    windowed = replace(MODEL, transformer={**WAN, "cross_stream_window": 1})

    assert step_flops(replace(SHOT, guidance_scale=3.0), MODEL) == 2 * step_flops(SHOT, MODEL)
    assert step_flops(SHOT, windowed) < 0.45 * step_flops(SHOT, MODEL)


def test_a_window_longer_than_the_shot_costs_what_full_attention_costs() -> None:
    windowed = replace(MODEL, transformer={**WAN, "cross_stream_window": 20})

    assert estimate(SHOT, windowed, DEVICE) == estimate(SHOT, MODEL, DEVICE)


def test_a_folder_is_measured_without_loading_it(tmp_path: Path) -> None:
    folder = make_toy_model_folder(tmp_path / "toy")

    model = ModelSize.read(folder, transformer_bytes=2)

    toy = estimate(ShotFormat(32, 32, 5, 1, 3), model, DEVICE)
    assert toy.tokens == 4 * 2 * 4
    assert model.weights_bytes["transformer"] > 0
    assert model.weights_bytes["vae"] == 4 * sum(
        parameter.numel() for parameter in make_toy_vae().parameters()
    )
    assert toy.peak_bytes > toy.weights_bytes


@pytest.mark.slow
@pytest.mark.skipif(not Path("/proc/self/clear_refs").exists(), reason="peaks need Linux")
def test_estimated_peaks_are_within_a_third_of_measured_ones() -> None:
    # This runs in another process, because measuring peaks changes how memory is given back.
    with ProcessPoolExecutor(1, forked()) as pool:
        measured = pool.submit(measured_peaks.measured).result(HANG_S)

    full, windowed, half = (
        denoise_bytes(
            measured_peaks.SHOT,
            measured_peaks.model_size(window, dtype),
            measured_peaks.NUM_TEXT_TOKENS,
        )
        for window, dtype in ((None, torch.float32), (1, torch.float32), (None, torch.bfloat16))
    )
    decode = decode_bytes(measured_peaks.DECODED, measured_peaks.model_size(None, torch.float32))
    estimated = {"full": full, "windowed": windowed, "half": half, "decode": decode}
    ratios = {name: value / measured[name] for name, value in estimated.items()}
    assert all(3 / 4 < ratio < 4 / 3 for ratio in ratios.values()), ratios
