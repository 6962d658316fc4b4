"""What shots are for, each on the toy model: 9 frames, of which latent frames hold 1, 4 and 4."""

from typing import Any

import pytest
import torch

from layert2v_model.pipeline import Given, LayerT2VPipeline, ShotPrompts
from layert2v_model.sampling.reuse import blended, joined, kept_layers, opening, streams_of
from layert2v_model.stack import Stack
from support.toy_model import make_toy_pipeline

PROMPTS = ShotPrompts("", "a beach", ("a red fox", "a blue ball"))
ONE = ShotPrompts("", "a beach", ("a red fox",))
FORMAT: dict[str, Any] = {
    "width": 32,
    "height": 32,
    "num_frames": 9,
    "num_inference_steps": 1,
    "guidance_scale": 1.0,
    "stream_seeds": {"full": 1, "background": 1, "foreground_1": 1, "foreground_2": 1},
}


def _shot(seed: int) -> dict[str, Any]:
    return {**FORMAT, "stream_seeds": dict.fromkeys(FORMAT["stream_seeds"], seed)}


@pytest.fixture(scope="module")
def pipeline(tmp_path_factory: pytest.TempPathFactory) -> LayerT2VPipeline:
    return make_toy_pipeline(tmp_path_factory.mktemp("toy"))


@pytest.fixture(scope="module")
def take(pipeline: LayerT2VPipeline) -> Stack:
    return pipeline(PROMPTS, **_shot(1))


@pytest.fixture(scope="module")
def other(pipeline: LayerT2VPipeline) -> Stack:
    return pipeline(PROMPTS, **_shot(2))


def test_one_layer_of_several_is_made_anew(pipeline: LayerT2VPipeline, take: Stack) -> None:
    again = pipeline(PROMPTS, **_shot(2), given=kept_layers(take, regenerated=[1]))

    before, after = streams_of(take), streams_of(again)
    assert {name for name in before if after[name] is before[name]} == {
        "background",
        "foreground_2",
        "alpha_2",
    }
    for name in ("full", "foreground_1", "alpha_1"):
        assert not torch.equal(after[name], before[name])


def test_a_foreground_is_put_on_a_plate(pipeline: LayerT2VPipeline) -> None:
    plate = torch.rand(9, 3, 32, 32)

    made = pipeline(ShotPrompts("", "", ("a fox",)), **FORMAT, given={"background": plate})

    assert made.background.rgb_TCHW is plate
    assert made.foregrounds[0].alpha_T1HW.std() > 0


def test_a_full_video_is_taken_apart(pipeline: LayerT2VPipeline) -> None:
    video = torch.rand(9, 3, 32, 32)

    made = pipeline(ONE, **FORMAT, given={"full": video})

    assert made.full_TCHW is video
    assert made.background.rgb_TCHW.std() > 0
    assert made.foregrounds[0].alpha_T1HW.std() > 0


def test_a_foreground_gets_a_background(pipeline: LayerT2VPipeline, take: Stack) -> None:
    layer = take.foregrounds[0]
    given = {"foreground_1": layer.rgb_TCHW, "alpha_1": layer.alpha_T1HW}

    made = pipeline(ShotPrompts("", "a beach", ("",)), **FORMAT, given=given)

    assert made.foregrounds[0].rgb_TCHW is layer.rgb_TCHW
    assert made.foregrounds[0].alpha_T1HW is layer.alpha_T1HW
    assert made.background.rgb_TCHW.std() > 0


def test_two_takes_of_a_foreground_are_blended(
    pipeline: LayerT2VPipeline, take: Stack, other: Stack
) -> None:
    given = blended(take, other, layer=2, num_first=1, num_last=4)

    made = pipeline(PROMPTS, **_shot(3), given={"background": take.background.rgb_TCHW, **given})

    layer = made.foregrounds[1]
    assert torch.equal(layer.rgb_TCHW[:1], take.foregrounds[1].rgb_TCHW[:1])
    assert torch.equal(layer.alpha_T1HW[5:], other.foregrounds[1].alpha_T1HW[5:])
    for end in (take, other):
        assert not torch.equal(layer.rgb_TCHW[1:5], end.foregrounds[1].rgb_TCHW[1:5])


def test_every_layer_goes_on_in_time(pipeline: LayerT2VPipeline, take: Stack) -> None:
    continued = pipeline(PROMPTS, **_shot(2), given=opening(take, 5))

    longer = joined(take, continued, 5)

    for name, frames in streams_of(longer).items():
        assert len(frames) == 13
        assert torch.equal(frames[:9], streams_of(take)[name])
        assert torch.equal(frames[9:], streams_of(continued)[name][5:])


def test_a_layer_with_the_same_frame_at_both_ends_loops(pipeline: LayerT2VPipeline) -> None:
    frame = torch.rand(1, 3, 32, 32)
    given = {"background": [Given(frame), Given(frame, first_frame=8)]}

    made = pipeline(ONE, **FORMAT, given=given)

    assert torch.equal(made.background.rgb_TCHW[0], made.background.rgb_TCHW[8])


def test_a_region_of_a_plate_is_painted_anew(pipeline: LayerT2VPipeline) -> None:
    plate = torch.rand(9, 3, 32, 32)
    kept = torch.ones(1, 1, 32, 32, dtype=torch.bool)
    kept[..., 8:24, 8:24] = False

    made = pipeline(ONE, **FORMAT, given={"background": Given(plate, region_T1HW=kept)})

    is_same = (made.background.rgb_TCHW == plate).all(dim=(0, 1))
    assert torch.equal(is_same, kept[0, 0])


@pytest.mark.parametrize(
    ("call", "sentence"),
    [
        (lambda take: kept_layers(take, regenerated=[3]), "no layer 3; use 0 to 2"),
        (lambda take: blended(take, take, 0, 1, 1), "no layer 0; use 1 to 2"),
        (lambda take: blended(take, take, 1, 4, 5), "leave nothing to make of 9"),
        (lambda take: opening(take, 10), "10 frames cannot be shared by a take of 9"),
        (lambda take: joined(take, take, 0), "0 frames cannot be shared"),
        (lambda take: joined(take, take.without(1), 1), "join takes with equally many"),
    ],
)
def test_what_a_take_does_not_have_is_refused(call: Any, sentence: str, take: Stack) -> None:
    with pytest.raises(ValueError, match=sentence):
        call(take)
