from dataclasses import replace

import pytest

from layert2v_model.cost.device import Device
from layert2v_model.cost.estimate import ModelSize
from layert2v_model.cost.plan import plan
from layert2v_model.shot import ShotFormat
from support.wan_sizes import WAN, WAN_VAE

GIB = 2**30
MODEL = ModelSize(
    transformer=WAN,
    vae=WAN_VAE,
    weights_bytes={
        "transformer": 3 * GIB,
        "vae": GIB // 2,
        "alpha_vae": GIB // 2,
        "text_encoder": 22 * GIB,
    },
    transformer_bytes=2,
)
SHOT = ShotFormat(832, 480, 33, num_foregrounds=2, num_inference_steps=50)


@pytest.mark.parametrize(("gib", "offload"), [(80, "none"), (24, "model"), (8, "group")])
def test_what_does_not_fit_waits_on_the_host(gib: int, offload: str) -> None:
    chosen = plan(SHOT, MODEL, Device("a GPU", gib * GIB, 1e14))

    assert (chosen.fits, chosen.offload) == (True, offload)
    assert chosen.peak_bytes <= gib * GIB
    assert "a GPU" in chosen.sentence


def test_a_shot_that_fits_in_no_way_is_refused_with_what_would_fit() -> None:
    device = Device("a GPU", 4 * GIB, 1e14)
    large = replace(SHOT, num_frames=81)

    refused = plan(large, MODEL, device)

    assert not refused.fits
    assert "a GPU has 4.0 GiB; use at most" in refused.sentence
    frames = int(refused.sentence.split(" frames")[0].split()[-1])
    assert plan(replace(large, num_frames=frames), MODEL, device).fits
    assert not plan(replace(large, num_frames=frames + 4), MODEL, device).fits


def test_where_neither_fewer_layers_nor_frames_help_the_picture_must_be_smaller() -> None:
    refused = plan(SHOT, MODEL, Device("a GPU", GIB // 8, 1e14))

    assert refused.sentence.endswith("make the picture smaller")


def test_from_main_memory_nothing_can_be_offloaded() -> None:
    host = Device("this computer", 24 * GIB, is_host=True)

    assert not plan(SHOT, MODEL, host).fits
    assert plan(SHOT, MODEL, replace(host, memory_bytes=80 * GIB)).offload == "none"


def test_a_vae_that_cannot_tile_is_not_asked_to() -> None:
    large = ShotFormat(1280, 720, 81, num_foregrounds=2, num_inference_steps=50)
    patched = replace(MODEL, vae={**WAN_VAE, "patch_size": 2})
    gib = next(n for n in range(1, 99) if plan(large, MODEL, Device("a GPU", n * GIB)).fits)
    device = Device("a GPU", gib * GIB)

    assert plan(large, MODEL, device).tile_decode
    assert not plan(large, patched, device).tile_decode
