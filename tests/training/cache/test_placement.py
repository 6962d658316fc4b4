from dataclasses import replace

import pytest
import torch
from torch import nn

from layert2v_training.cache import latents as latents_module
from layert2v_training.cache.latents import at_home
from layert2v_training.cache.placement import expected_bytes_of, home_of
from layert2v_training.stages.joint import JointLoss
from support.toy_run import ToyCaptions, toy_clips, toy_recipe, toy_transformer

GPU = torch.device("cuda", 0)


@pytest.mark.parametrize(
    ("num_bytes", "expected_bytes", "home"),
    [(499, 0, GPU), (500, 0, torch.device("cpu")), (499, 10, torch.device("cpu"))],
)
def test_data_goes_to_a_device_that_has_twice_as_much_free_beside_what_will_come(
    monkeypatch: pytest.MonkeyPatch, num_bytes: int, expected_bytes: int, home: torch.device
) -> None:
    monkeypatch.setattr(torch.cuda, "mem_get_info", lambda device: (1000, 2000))

    assert home_of(num_bytes, GPU, expected_bytes) == home


def test_what_training_will_take_counts_gradients_moments_and_the_average() -> None:
    model = nn.Sequential(nn.Linear(3, 1), nn.Linear(5, 1).requires_grad_(False))

    assert expected_bytes_of(model, GPU) == 4 * (5 * 4 + 6)
    assert expected_bytes_of(model, torch.device("cpu")) == 4 * 4 * 4


def test_clips_of_all_shapes_have_one_home(monkeypatch: pytest.MonkeyPatch) -> None:
    clips, asked = toy_clips(), list[int]()

    def chosen(num_bytes: int, device: torch.device, expected_bytes: int) -> torch.device:
        asked.append(num_bytes)
        return torch.device("cpu") if len(asked) == 1 else device

    monkeypatch.setattr(latents_module, "home_of", chosen)
    meta = torch.device("meta")

    kept, moved = at_home(clips, meta), at_home(clips, meta)

    assert asked == [sum(clip.latents_SCTHW.nbytes for clip in clips)] * 2
    assert {clip.latents_SCTHW.device.type for clip in kept} == {"cpu"}
    assert {clip.latents_SCTHW.device.type for clip in moved} == {"meta"}


def test_projected_alphas_are_learned_from_as_if_they_stood_among_the_latents() -> None:
    inside, model = toy_clips(), toy_transformer()
    beside = [
        replace(
            clip,
            latents_SCTHW=clip.latents_SCTHW.index_fill(
                0, torch.arange(3, len(clip.latents_SCTHW), 2), 9.0
            ),
            projected_KCTHW=clip.latents_SCTHW[3::2].clone(),
        )
        for clip in inside
    ]
    losses = []
    for clips in (inside, beside):
        torch.manual_seed(0)
        loss = JointLoss(model, clips, ToyCaptions(), toy_recipe(1))  # type: ignore[arg-type]
        losses.append(loss(model, 0)["flow"])

    assert torch.equal(*losses)
