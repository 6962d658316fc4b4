"""Parts of streams given to the toy model: 9 frames, of which latent frames hold 1, 4 and 4."""

import logging
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from layert2v_model.errors import InvalidPlate, InvalidShot
from layert2v_model.pipeline import Given, LayerT2VPipeline, ShotPrompts
from layert2v_model.sampling.reuse import streams_of
from layert2v_model.stack import Stack
from support.spying import spy_on_network
from support.toy_model import make_toy_pipeline

PROMPTS = ShotPrompts("", "a beach", ("a red fox",))
FORMAT: dict[str, Any] = {
    "width": 32,
    "height": 32,
    "num_frames": 9,
    "num_inference_steps": 2,
    "guidance_scale": 2.0,
    "stream_seeds": {"full": 1, "background": 2, "foreground_1": 3},
}


@pytest.fixture(scope="module")
def pipeline(tmp_path_factory: pytest.TempPathFactory) -> LayerT2VPipeline:
    return make_toy_pipeline(tmp_path_factory.mktemp("toy"))


@pytest.fixture(scope="module")
def take(pipeline: LayerT2VPipeline) -> Stack:
    return pipeline(PROMPTS, **FORMAT)


def _video(num_frames: int, channels: int = 3) -> Tensor:
    generator = torch.Generator().manual_seed(num_frames)
    return torch.rand(num_frames, channels, 32, 32, generator=generator)


def _region(rows: int) -> Tensor:
    region = torch.zeros(1, 1, 32, 32, dtype=torch.bool)
    region[:, :, :rows] = True
    return region


def test_given_frames_come_back_bit_for_bit_and_the_rest_is_made(
    pipeline: LayerT2VPipeline, take: Stack
) -> None:
    frames = _video(5)

    made = pipeline(PROMPTS, **FORMAT, given={"background": Given(frames)})

    assert torch.equal(made.background.rgb_TCHW[:5], frames)
    assert not torch.equal(made.background.rgb_TCHW[5:], take.background.rgb_TCHW[5:])
    assert made.background.rgb_TCHW[5:].std() > 0


def test_given_frames_of_tokens_sit_at_0_and_their_latents_stay_clean(
    pipeline: LayerT2VPipeline, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen = spy_on_network(pipeline, monkeypatch)
    frames = _video(5)

    pipeline(PROMPTS, **FORMAT, given={"background": Given(frames)})

    expected = pipeline.encode_stream("background", frames)
    for latents, timesteps in seen:
        assert (timesteps[:, 1] == 0).tolist() == [[True, True, False]] * 2
        assert timesteps[:, [0, 2, 3]].min() > 0
        torch.testing.assert_close(latents[0, 1, :, :2], expected, atol=1e-6, rtol=0)


def test_frames_at_the_end_are_encoded_where_they_stand(
    pipeline: LayerT2VPipeline, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen = spy_on_network(pipeline, monkeypatch)

    made = pipeline(PROMPTS, **FORMAT, given={"background": Given(_video(4), first_frame=5)})

    assert torch.equal(made.background.rgb_TCHW[5:], _video(4))
    assert (seen[0][1][0, 1] == 0).tolist() == [False, False, True]


def test_frames_that_fill_no_frame_of_tokens_are_clamped_where_they_can_be_and_pinned(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    pipeline = make_toy_pipeline(tmp_path, patch_size=(2, 2, 2))
    seen = spy_on_network(pipeline, monkeypatch)
    shot = {**FORMAT, "num_frames": 13}

    with caplog.at_level(logging.WARNING):
        made = pipeline(PROMPTS, **shot, given={"background": Given(_video(7))})

    # 13 frames: latent frames of 1, 4, 4, 4; 7 fill the first two, which are one of tokens.
    assert (seen[0][1][0, 1] == 0).tolist() == [True, False]
    assert torch.equal(made.background.rgb_TCHW[:7], _video(7))
    assert "background" in caplog.text
    assert "clamped" in caplog.text


def test_a_clamped_latent_frame_is_as_noisy_as_the_step(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pipeline = make_toy_pipeline(tmp_path, patch_size=(2, 2, 2))
    seen = spy_on_network(pipeline, monkeypatch)
    frames = _video(9)

    pipeline(PROMPTS, **{**FORMAT, "num_frames": 13}, given={"background": Given(frames)})

    clean = pipeline.encode_stream("background", frames)
    (noise, _), (noisy, timesteps) = seen
    t = timesteps.max() / 1000
    expected = torch.lerp(clean[:, 2], noise[0, 1, :, 2], t)
    torch.testing.assert_close(noisy[0, 1, :, 2], expected, atol=1e-5, rtol=0)


def test_a_given_region_comes_back_bit_for_bit_and_is_clamped(
    pipeline: LayerT2VPipeline, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    seen = spy_on_network(pipeline, monkeypatch)
    frames, region = _video(9), _region(rows=20)
    given = {"background": Given(frames, region_T1HW=region)}

    with caplog.at_level(logging.WARNING):
        made = pipeline(PROMPTS, **FORMAT, given=given)

    inside = region.expand_as(frames)
    assert torch.equal(made.background.rgb_TCHW[inside], frames[inside])
    assert not torch.equal(made.background.rgb_TCHW[~inside], frames[~inside])
    assert seen[0][1].min() > 0
    assert "background" in caplog.text
    size = {"width": 32, "height": 32, "num_frames": 9}
    assert pipeline.clamped_streams(given, **size) == ("background",)
    assert pipeline.clamped_streams({"background": frames}, **size) == ()


def test_what_lies_outside_a_region_is_never_read(pipeline: LayerT2VPipeline) -> None:
    region = _region(rows=16)
    frames = _video(9)
    other = torch.where(region, frames, 1 - frames)

    takes = [
        pipeline(PROMPTS, **FORMAT, given={"background": Given(video, region_T1HW=region)})
        for video in (frames, other)
    ]

    assert torch.equal(takes[0].full_TCHW, takes[1].full_TCHW)
    assert torch.equal(takes[0].background.rgb_TCHW, takes[1].background.rgb_TCHW)


def test_latents_steer_as_the_frames_they_were_made_from(pipeline: LayerT2VPipeline) -> None:
    plate = _video(9)
    latents = pipeline.encode_stream("background", plate)

    by_frames = pipeline(PROMPTS, **FORMAT, given={"background": plate})
    by_latents = pipeline(PROMPTS, **FORMAT, given={"background": Given(latents_CTHW=latents)})

    assert torch.equal(by_frames.full_TCHW, by_latents.full_TCHW)
    assert not torch.equal(by_latents.background.rgb_TCHW, plate)


def test_latents_of_some_frames_are_put_where_they_belong(
    pipeline: LayerT2VPipeline, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen = spy_on_network(pipeline, monkeypatch)
    latents = pipeline.encode_stream("background", _video(9))[:, 1:]
    parts = (Given(_video(1)), Given(latents_CTHW=latents, first_frame=1))

    made = pipeline(PROMPTS, **FORMAT, given={"background": parts})

    assert torch.equal(seen[0][0][0, 1, :, 1:], latents)
    assert (seen[0][1][0, 1] == 0).all()
    assert torch.equal(made.background.rgb_TCHW[:1], _video(1))


def test_a_stream_in_parts_that_fill_it_is_as_good_as_whole(
    pipeline: LayerT2VPipeline, monkeypatch: pytest.MonkeyPatch
) -> None:
    plate = _video(9)
    parts = [Given(plate[:2]), Given(plate[2:], first_frame=2)]

    whole = pipeline(ShotPrompts("", "", ("a fox",)), **FORMAT, given={"background": plate})
    made = pipeline(ShotPrompts("", "", ("a fox",)), **FORMAT, given={"background": parts})

    for name, frames in streams_of(whole).items():
        assert torch.equal(streams_of(made)[name], frames)


def test_a_foreground_is_premultiplied_in_the_frames_in_which_its_alpha_is_given(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pipeline = make_toy_pipeline(tmp_path, foreground_fill="black")
    seen = spy_on_network(pipeline, monkeypatch)
    rgb, alpha = _video(5), torch.zeros(5, 1, 32, 32)

    made = pipeline(PROMPTS, **FORMAT, given={"foreground_1": Given(rgb), "alpha_1": Given(alpha)})

    black = pipeline.encode_stream("foreground_1", torch.zeros(5, 3, 32, 32))
    assert torch.equal(seen[0][0][0, 2, :, :2], black)
    assert torch.equal(made.layers[1].rgb_TCHW[:5], rgb)


def test_a_model_without_timesteps_per_stream_clamps_parts_too(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    pipeline = make_toy_pipeline(tmp_path, per_stream_timesteps=False)
    seen = spy_on_network(pipeline, monkeypatch)

    with caplog.at_level(logging.WARNING):
        made = pipeline(PROMPTS, **FORMAT, given={"background": Given(_video(5))})

    assert all((timesteps == timesteps[0, 0]).all() for _, timesteps in seen)
    assert torch.equal(made.background.rgb_TCHW[:5], _video(5))
    assert "no timestep per stream" in caplog.text


def test_a_looped_layer_keeps_its_ends_equal_at_every_step(
    pipeline: LayerT2VPipeline, monkeypatch: pytest.MonkeyPatch, take: Stack
) -> None:
    seen = spy_on_network(pipeline, monkeypatch)

    made = pipeline(PROMPTS, **FORMAT, looped=("foreground_1",))

    for latents, _ in seen:
        ends = latents[0, 2:, :, 0], latents[0, 2:, :, -1]
        assert torch.equal(*ends)
        assert not torch.equal(latents[0, 0, :, 0], latents[0, 0, :, -1])
    assert not torch.equal(made.layers[1].rgb_TCHW, take.layers[1].rgb_TCHW)


def test_a_shot_with_parts_given_is_the_same_each_time(pipeline: LayerT2VPipeline) -> None:
    given = {"background": Given(_video(9), region_T1HW=_region(9)), "full": Given(_video(3))}

    takes = [pipeline(PROMPTS, **FORMAT, given=given, looped=("foreground_1",)) for _ in range(2)]

    for name, frames in streams_of(takes[0]).items():
        assert torch.equal(streams_of(takes[1])[name], frames)


def test_stopping_amid_given_parts_leaves_the_pipeline_ready(
    pipeline: LayerT2VPipeline, take: Stack
) -> None:
    def stop(stage: str, step: int, _: int) -> None:
        if (stage, step) == ("denoising", 1):
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        pipeline(PROMPTS, **FORMAT, given={"full": Given(_video(5))}, on_progress=stop)

    assert torch.equal(pipeline(PROMPTS, **FORMAT).full_TCHW, take.full_TCHW)


@pytest.mark.parametrize(
    ("part", "sentence"),
    [
        (Given(), "must hold either frames or latents"),
        (Given(_video(9), latents_CTHW=torch.zeros(4, 3, 4, 4)), "either frames or latents"),
        ([], "without a part"),
        (Given(_video(5), first_frame=6), "frame 6 to 10, the shot has frames 0 to 8; trim"),
        (Given(_video(12)), "frame 0 to 11, the shot has frames 0 to 8"),
        (Given(_video(2), first_frame=-1), "from frame -1"),
        (Given(torch.rand(5, 3, 16, 32)), "resize or trim"),
        (Given(torch.rand(5, 1, 32, 32)), "the shot needs"),
        (Given(torch.rand(3)), "the shot needs"),
        (Given(torch.rand(0, 3, 32, 32)), "the shot needs"),
        (Given(_video(5) * 255), "allowed is 0 to 1; convert it"),
        (Given(_video(5) * torch.nan), "not numbers"),
        (Given((_video(5) * 255).byte()), "floating point"),
        ([Given(_video(5)), Given(_video(4), first_frame=4)], "frame 4 of full is given twice"),
        (Given(_video(9), region_T1HW=torch.ones(9, 32, 32)), "the region of full is"),
        (Given(_video(9), region_T1HW=torch.ones(1, 1, 32, 32)), "give booleans"),
        (Given(_video(9), region_T1HW=~torch.ones(1, 1, 32, 32).bool()), "empty; leave it"),
        (Given(latents_CTHW=torch.zeros(4, 3, 4, 5)), "resize or trim"),
        (Given(latents_CTHW=torch.zeros(4, 2, 4, 4), first_frame=3), "begin at 0, 1, 5 .* use 1"),
        (Given(latents_CTHW=torch.zeros(4, 4, 4, 4)), "the shot has frames 0 to 8"),
        (Given(latents_CTHW=torch.full((4, 3, 4, 4), torch.inf)), "not finite"),
    ],
)
def test_parts_that_do_not_fit_are_refused_first(
    part: Any, sentence: str, pipeline: LayerT2VPipeline
) -> None:
    with pytest.raises(InvalidPlate, match=sentence):
        pipeline(PROMPTS, **FORMAT, given={"full": part}, on_progress=_never)


@pytest.mark.parametrize(
    ("looped", "error", "sentence"),
    [
        (("sky",), InvalidShot, "sky cannot loop; use full, background, foreground_1"),
        (("alpha_1",), InvalidShot, "alpha_1 cannot loop"),
        (("background",), InvalidPlate, "background loops and is given"),
    ],
)
def test_loops_that_cannot_be_are_refused_first(
    looped: tuple[str, ...], error: type[ValueError], sentence: str, pipeline: LayerT2VPipeline
) -> None:
    given = {"background": Given(_video(1))}

    with pytest.raises(error, match=sentence):
        pipeline(PROMPTS, **FORMAT, given=given, looped=looped, on_progress=_never)


def test_a_layer_given_in_part_still_needs_words(pipeline: LayerT2VPipeline) -> None:
    with pytest.raises(InvalidShot, match="the prompt of background is empty"):
        pipeline(ShotPrompts("", "", ("a fox",)), **FORMAT, given={"background": Given(_video(5))})


def test_a_layer_given_in_part_still_needs_a_seed(pipeline: LayerT2VPipeline) -> None:
    shot = {**FORMAT, "stream_seeds": {"full": 1, "foreground_1": 1}}

    with pytest.raises(InvalidShot, match="no seed for background"):
        pipeline(PROMPTS, **shot, given={"background": Given(_video(5))})


def _never(stage: str, step: int, num_steps: int) -> None:
    raise AssertionError("work began before the shot was checked")
