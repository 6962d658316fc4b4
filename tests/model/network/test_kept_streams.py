"""Whole given streams that only some steps compute, on the toy model."""

from pathlib import Path
from typing import Any

import pytest
import torch

from layert2v_model.errors import InvalidShot
from layert2v_model.network.kept_streams import held_streams
from layert2v_model.pipeline import LayerT2VPipeline, ShotPrompts
from support.toy_model import make_toy_pipeline, make_toy_transformer

PROMPTS = ShotPrompts("", "a beach", ("a red fox",))
FORMAT: dict[str, Any] = {
    "width": 32,
    "height": 32,
    "num_frames": 9,
    "num_inference_steps": 4,
    "guidance_scale": 2.0,
    "stream_seeds": {"full": 1, "background": 2, "foreground_1": 3},
}
GIVEN = {"background": torch.rand(9, 3, 32, 32, generator=torch.Generator().manual_seed(0))}


@pytest.fixture(scope="module")
def pipeline(tmp_path_factory: pytest.TempPathFactory) -> LayerT2VPipeline:
    return make_toy_pipeline(tmp_path_factory.mktemp("toy"))


@torch.no_grad()
def test_with_nothing_changed_remembered_streams_do_as_well_as_computed_ones() -> None:
    model = make_toy_transformer().eval()
    generator = torch.Generator().manual_seed(1)
    latents = torch.randn(2, 6, 4, 3, 4, 4, generator=generator)
    text = model.read_text(torch.randn(2, 6, 5, 16, generator=generator))
    is_held = torch.tensor([[False, True, False, False, True, True]])[..., None]
    timestep = torch.where(is_held, 0.0, 600.0).expand(2, -1, -1)
    held = held_streams(is_held, len(model.blocks), 2)
    assert held is not None
    exact = model(latents, timestep, text, return_dict=False)[0]

    velocities, tokens = [], list[torch.Size]()
    model.blocks[-1].register_forward_hook(lambda _, __, out: tokens.append(out.shape))
    for step in range(2):
        held.begin(step)
        velocities.append(model(latents, timestep, text, return_dict=False, held=held)[0])

    torch.testing.assert_close(velocities[0], exact)
    torch.testing.assert_close(velocities[1][:, held.made], exact[:, held.made])
    assert not velocities[1][:, [1, 4, 5]].any()
    assert [shape[1] for shape in tokens] == [6, 3]


def test_given_layers_come_back_bit_for_bit_and_the_others_come_close(
    pipeline: LayerT2VPipeline,
) -> None:
    exact = pipeline(PROMPTS, **FORMAT, given=GIVEN)
    quick = pipeline(PROMPTS, **FORMAT, given=GIVEN, refresh_given_every=2)

    assert torch.equal(quick.background.rgb_TCHW, GIVEN["background"])
    change = (quick.full_TCHW - exact.full_TCHW).abs().max()
    assert 0 < change < 0.05


def test_a_job_leaves_nothing_to_the_next(pipeline: LayerT2VPipeline) -> None:
    before = pipeline(PROMPTS, **FORMAT)
    pipeline(PROMPTS, **FORMAT, given=GIVEN, refresh_given_every=2)
    assert torch.equal(pipeline(PROMPTS, **FORMAT).full_TCHW, before.full_TCHW)


def test_within_a_window_every_step_computes_everything(
    tmp_path: Path,
) -> None:
    pipeline = make_toy_pipeline(tmp_path)
    pipeline.transformer.register_to_config(cross_stream_window=0)
    exact = pipeline(PROMPTS, **FORMAT, given=GIVEN)
    quick = pipeline(PROMPTS, **FORMAT, given=GIVEN, refresh_given_every=2)
    assert torch.equal(quick.full_TCHW, exact.full_TCHW)


def test_less_than_one_step_is_refused(pipeline: LayerT2VPipeline) -> None:
    with pytest.raises(InvalidShot, match="refresh_given_every is 0; use 1 or more"):
        pipeline(PROMPTS, **FORMAT, given=GIVEN, refresh_given_every=0)
