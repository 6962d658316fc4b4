"""What the pipeline refuses before it computes anything, each with its remedy."""

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from layert2v_model.errors import InvalidPlate, InvalidShot
from layert2v_model.pipeline import LayerT2VPipeline, ShotPrompts
from layert2v_model.stack import Stack
from support.toy_model import make_toy_pipeline
from support.toy_shot import FORMAT, PROMPTS, streams_of


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ({"width": 40}, "width 40 is not a multiple of 16 pixels; use 32"),
        ({"height": 0}, "height 0 is not a multiple of 16 pixels; use 16"),
        ({"num_frames": 8}, "8 frames cannot be made"),
        ({"num_frames": 0}, "use 1"),
        ({"num_inference_steps": 0}, "use at least 1"),
        ({"guidance_scale": 0.5}, "guidance 0.5"),
        ({"guidance_scale": float("nan")}, "guidance nan"),
        ({"stream_seeds": {"full": 1}}, "no seed for background, foreground_1, alpha_1"),
    ],
)
def test_a_shot_the_model_cannot_make_is_refused_first(
    change: dict[str, Any], sentence: str, pipeline: LayerT2VPipeline
) -> None:
    with pytest.raises(InvalidShot, match=sentence):
        pipeline(PROMPTS, **{**FORMAT, **change}, on_progress=_never)


@pytest.mark.parametrize(
    ("prompts", "sentence"),
    [
        (
            ShotPrompts("x", "a beach", ()),
            "0 foregrounds are asked for, but the model makes 1 to 3",
        ),
        (ShotPrompts("x", "a beach", ("a",) * 4), "4 foregrounds"),
        (ShotPrompts("x", " ", ("a fox",)), "the prompt of background is empty"),
        (ShotPrompts("x", "a", ("a", "")), "the prompt of foreground_2 is empty"),
    ],
)
def test_prompts_that_do_not_fit_are_refused_first(
    prompts: ShotPrompts, sentence: str, pipeline: LayerT2VPipeline
) -> None:
    with pytest.raises(InvalidShot, match=sentence):
        pipeline(prompts, **FORMAT, on_progress=_never)


@pytest.mark.parametrize(
    ("given", "sentence"),
    [
        ({"sky": torch.rand(5, 3, 32, 32)}, "sky is not a stream"),
        ({"background": torch.rand(5, 3, 16, 32)}, "resize or trim"),
        ({"alpha_1": torch.rand(5, 3, 32, 32)}, "the shot needs"),
        ({"alpha_1": torch.full((5, 1, 32, 32), 1.5)}, "to 1.5, allowed is 0 to 1"),
        ({"full": torch.full((5, 3, 32, 32), torch.nan)}, "not numbers"),
        ({"full": torch.ones(5, 3, 32, 32, dtype=torch.uint8)}, "floating point"),
    ],
)
def test_plates_that_do_not_fit_are_refused_first(
    given: dict[str, Tensor], sentence: str, pipeline: LayerT2VPipeline
) -> None:
    with pytest.raises(InvalidPlate, match=sentence):
        pipeline(PROMPTS, **FORMAT, given=given, on_progress=_never)


def test_a_shot_with_everything_given_is_refused(pipeline: LayerT2VPipeline, take: Stack) -> None:
    with pytest.raises(InvalidPlate, match="nothing is left"):
        pipeline(PROMPTS, **FORMAT, given=streams_of(take))


def test_a_given_layer_needs_no_prompt(pipeline: LayerT2VPipeline) -> None:
    plate = torch.rand(5, 3, 32, 32)

    take = pipeline(ShotPrompts("", "", ("a fox",)), **FORMAT, given={"background": plate})

    assert take.background.rgb_TCHW is plate


def test_more_words_than_the_text_encoder_takes_are_refused(pipeline: LayerT2VPipeline) -> None:
    with pytest.raises(InvalidShot, match="the text encoder takes 64; shorten it"):
        pipeline(ShotPrompts("", "red " * 100, ("a fox",)), **FORMAT)


def test_a_model_without_project_in_takes_no_alpha(tmp_path: Path) -> None:
    pipeline = make_toy_pipeline(tmp_path)
    pipeline.project_in = None

    with pytest.raises(InvalidShot, match="project_in"):
        pipeline(PROMPTS, **FORMAT, given={"alpha_1": torch.rand(5, 1, 32, 32)})


def _never(stage: str, step: int, num_steps: int) -> None:
    raise AssertionError("work began before the shot was checked")


def test_a_model_whose_vae_has_no_levels_refuses_tiles(
    pipeline: LayerT2VPipeline, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("layert2v_model.vae.codec.can_tile", lambda vae: False)

    with pytest.raises(InvalidShot, match="leave tile_decode off"):
        pipeline(PROMPTS, **FORMAT, tile_decode=True)
