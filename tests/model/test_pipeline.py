import logging
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from layert2v_model.errors import InvalidPlate, InvalidShot, NotFinite
from layert2v_model.finishing.report import measure
from layert2v_model.loading import load_pipeline
from layert2v_model.pipeline import LayerT2VPipeline, ShotPrompts
from layert2v_model.stack import Stack
from layert2v_model.vae import decoding
from layert2v_model.vae.decoding import decode_frames
from support.reference import reference_latents
from support.spying import spy_on_network
from support.toy_model import make_toy_model_folder, make_toy_pipeline

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


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_toy_model_folder(tmp_path_factory.mktemp("toy"))


@pytest.fixture(scope="module")
def pipeline(folder: Path) -> LayerT2VPipeline:
    return load_pipeline(folder)


@pytest.fixture(scope="module")
def take(pipeline: LayerT2VPipeline) -> Stack:
    return pipeline(PROMPTS, **FORMAT)


def _streams(stack: Stack) -> dict[str, Tensor]:
    streams = {"full": stack.full_TCHW, "background": stack.background.rgb_TCHW}
    for number, layer in enumerate(stack.foregrounds, start=1):
        streams[f"foreground_{number}"] = layer.rgb_TCHW
        streams[f"alpha_{number}"] = layer.alpha_T1HW
    return streams


def _nothing(stage: str, step: int, num_steps: int) -> None:
    """Take no note."""


def _same(left: Stack, right: Stack) -> bool:
    pairs = zip(_streams(left).values(), _streams(right).values(), strict=True)
    return all(torch.equal(a, b) for a, b in pairs)


def test_a_take_has_all_layers_in_range(take: Stack) -> None:
    assert len(take.layers) == 3
    for name, frames in _streams(take).items():
        assert frames.dtype == torch.float32
        assert frames.shape == (5, 1 if name.startswith("alpha") else 3, 32, 32)
        assert 0 <= frames.min() <= frames.max() <= 1
        assert frames.std() > 0


def test_a_take_of_which_nothing_is_given_is_that_of_the_plain_loop_bit_for_bit(
    pipeline: LayerT2VPipeline, take: Stack
) -> None:
    latents = reference_latents(pipeline, PROMPTS, 1, 2, 2.0, (5, 32, 32))

    chunks = [
        pixels for _, pixels in decode_frames(pipeline.vae, pipeline.alpha_vae, latents, _nothing)
    ]
    expected = {name: torch.cat([chunk[name] for chunk in chunks]) for name in latents}

    assert all(torch.equal(frames, expected[name]) for name, frames in _streams(take).items())


def test_frames_are_told_in_order_as_soon_as_they_are_whole(
    pipeline: LayerT2VPipeline, take: Stack
) -> None:
    told: list[tuple[slice, dict[str, Tensor]]] = []

    def note(stack: Stack, frames: slice) -> None:
        told.append((frames, {k: v[frames].clone() for k, v in _streams(stack).items()}))

    pipeline(PROMPTS, **FORMAT, on_frames=note)

    assert [(frames.start, frames.stop) for frames, _ in told] == [(0, 1), (1, 5)]
    for name, frames_TCHW in _streams(take).items():
        assert torch.equal(torch.cat([seen[name] for _, seen in told]), frames_TCHW)


def test_streams_too_large_to_decode_together_come_with_the_last_one(
    pipeline: LayerT2VPipeline, take: Stack, monkeypatch: pytest.MonkeyPatch
) -> None:
    steps: list[tuple[int, int]] = []
    monkeypatch.setattr(decoding, "PIXELS_PER_DECODE", 32 * 32)

    def note(stage: str, step: int, num_steps: int) -> None:
        if stage == "decoding":
            steps.append((step, num_steps))

    apart = pipeline(PROMPTS, **FORMAT, on_progress=note)

    assert steps == [(step, 12) for step in range(13)]
    for name, frames_TCHW in _streams(take).items():
        torch.testing.assert_close(_streams(apart)[name], frames_TCHW, atol=1e-5, rtol=0)


def test_the_same_shot_gives_the_same_take(pipeline: LayerT2VPipeline, take: Stack) -> None:
    assert _same(take, pipeline(PROMPTS, **FORMAT))


def test_another_seed_gives_another_take(pipeline: LayerT2VPipeline, take: Stack) -> None:
    seeds = {**SEEDS, "foreground_1": 2}

    other = pipeline(PROMPTS, **{**FORMAT, "stream_seeds": seeds})

    assert not _same(take, other)


def test_an_alpha_shares_its_foregrounds_seed_unless_it_has_its_own(
    pipeline: LayerT2VPipeline, take: Stack
) -> None:
    explicit = {**SEEDS, "alpha_1": 1, "alpha_2": 1}

    assert _same(take, pipeline(PROMPTS, **{**FORMAT, "stream_seeds": explicit}))


def test_given_streams_come_back_as_they_went_in(pipeline: LayerT2VPipeline, take: Stack) -> None:
    kept = {k: v for k, v in _streams(take).items() if not k.endswith(("_1", "full"))}
    copies = {name: frames.clone() for name, frames in kept.items()}

    again = pipeline(PROMPTS, **{**FORMAT, "given": kept})

    streams = _streams(again)
    for name, frames in copies.items():
        assert streams[name] is kept[name]
        assert torch.equal(streams[name], frames)
    assert not torch.equal(streams["foreground_1"], take.layers[1].rgb_TCHW)


def test_a_given_stream_steers_the_others(pipeline: LayerT2VPipeline, take: Stack) -> None:
    dark, light = torch.zeros(5, 3, 32, 32), torch.ones(5, 3, 32, 32)

    before = pipeline(PROMPTS, **{**FORMAT, "given": {"background": dark}})
    after = pipeline(PROMPTS, **{**FORMAT, "given": {"background": light}})

    assert not torch.equal(before.full_TCHW, after.full_TCHW)


def test_given_streams_sit_at_timestep_0_with_clean_latents(
    pipeline: LayerT2VPipeline, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen = spy_on_network(pipeline, monkeypatch)

    pipeline(PROMPTS, **{**FORMAT, "given": {"background": torch.rand(5, 3, 32, 32)}})

    for latents, timesteps in seen:
        assert timesteps[:, 1].abs().max() == 0
        assert timesteps[:, [0, 2, 3, 4, 5]].min() > 0
        assert torch.equal(latents[:, 1], seen[0][0][:, 1])


def test_without_training_for_it_given_streams_are_clamped_and_it_is_said(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    pipeline = make_toy_pipeline(tmp_path, per_stream_timesteps=False)
    seen = spy_on_network(pipeline, monkeypatch)
    plate = torch.rand(5, 3, 32, 32)

    with caplog.at_level(logging.WARNING):
        take = pipeline(PROMPTS, **{**FORMAT, "given": {"background": plate}})

    assert pipeline.clamps_given
    assert "clamped" in caplog.text
    assert take.background.rgb_TCHW is plate
    assert all((timesteps == timesteps[0, 0]).all() for _, timesteps in seen)
    assert not torch.equal(seen[0][0][:, 1], seen[1][0][:, 1])


def test_guidance_1_runs_one_shot_and_guidance_above_runs_two(
    pipeline: LayerT2VPipeline, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen = spy_on_network(pipeline, monkeypatch)

    pipeline(PROMPTS, **{**FORMAT, "guidance_scale": 1.0})
    pipeline(PROMPTS, **FORMAT)

    assert [len(latents) for latents, _ in seen] == [1, 1, 2, 2]


def test_the_negative_prompt_matters_under_guidance(
    pipeline: LayerT2VPipeline, take: Stack
) -> None:
    avoiding = ShotPrompts("", "a beach", ("a red fox", "a blue ball"), negative="a red ball")

    assert not _same(take, pipeline(avoiding, **FORMAT))


def test_a_blank_full_prompt_is_composed_from_the_layers(
    pipeline: LayerT2VPipeline, take: Stack
) -> None:
    spoken = ShotPrompts(
        "a red fox and a blue ball, in front of a beach", "a beach", ("a red fox", "a blue ball")
    )

    assert _same(take, pipeline(spoken, **FORMAT))


def test_progress_counts_every_step_of_every_stage(pipeline: LayerT2VPipeline) -> None:
    seen: list[tuple[str, int, int]] = []
    given = {"background": torch.rand(5, 3, 32, 32)}

    pipeline(PROMPTS, **FORMAT, given=given, on_progress=lambda *step: seen.append(step))

    assert [step for step in seen if step[0] == "encoding"] == [
        ("encoding", k, 2) for k in range(3)
    ]
    assert [s for s in seen if s[0] == "denoising"] == [("denoising", k, 2) for k in range(3)]
    # The three colour streams are decoded together, then both alphas; two latent frames each.
    assert [s for s in seen if s[0] == "decoding"] == [("decoding", k, 4) for k in range(5)]


@pytest.mark.parametrize("stage", ["encoding", "denoising", "decoding"])
def test_stopping_leaves_the_pipeline_ready_for_the_next_shot(
    stage: str, pipeline: LayerT2VPipeline, take: Stack
) -> None:
    class Stopped(Exception):
        pass

    def stop(now: str, step: int, num_steps: int) -> None:
        if now == stage and step == 1:
            raise Stopped

    with pytest.raises(Stopped):
        pipeline(PROMPTS, **FORMAT, on_progress=stop)

    assert _same(take, pipeline(PROMPTS, **FORMAT))


def test_large_streams_are_decoded_one_by_one_to_the_same_pixels(
    pipeline: LayerT2VPipeline, take: Stack, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("layert2v_model.vae.decoding.PIXELS_PER_DECODE", 32 * 32)
    steps: list[int] = []

    alone = pipeline(PROMPTS, **FORMAT, on_progress=lambda _, step, of: steps.append(of))

    assert steps[-1] == 12
    for name, frames in _streams(alone).items():
        torch.testing.assert_close(frames, _streams(take)[name], atol=1e-5, rtol=0)


def test_black_filled_foregrounds_come_out_straight(tmp_path: Path) -> None:
    filled = make_toy_pipeline(tmp_path, foreground_fill="black")
    plain = make_toy_pipeline(tmp_path, foreground_fill="bleed")

    straight = filled(PROMPTS, **FORMAT).layers[1]
    premultiplied = plain(PROMPTS, **FORMAT).layers[1]

    inside = (straight.rgb_TCHW < 1) & (straight.alpha_T1HW > 0.1)
    back = straight.rgb_TCHW * straight.alpha_T1HW
    torch.testing.assert_close(back[inside], premultiplied.rgb_TCHW[inside])


def test_spill_is_measured_on_the_colour_as_it_was_stored_on_black(tmp_path: Path) -> None:
    straight = make_toy_pipeline(tmp_path)
    black = make_toy_pipeline(tmp_path, foreground_fill="black")
    for part in ("transformer", "vae", "alpha_vae"):
        getattr(black, part).load_state_dict(getattr(straight, part).state_dict())
    stored, spoilt = straight(PROMPTS, **FORMAT), black(PROMPTS, **FORMAT)

    for layer, made in zip(stored.foregrounds, spoilt.foregrounds, strict=True):
        outside = ((1 - layer.alpha_T1HW) * layer.rgb_TCHW).sum()
        inside = (layer.alpha_T1HW * layer.rgb_TCHW).sum()
        assert made.light_T2 is not None
        sums = [float(outside), float(inside)]
        assert made.light_T2.sum(0).tolist() == pytest.approx(sums, rel=1e-4)
        assert made.spill == pytest.approx(min(float(outside / inside), 1.0), rel=1e-4)
    assert [layer.spill for layer in stored.foregrounds] == [0, 0]
    mean = sum(layer.spill for layer in spoilt.foregrounds) / 2
    assert measure(spoilt, spoilt).spill == pytest.approx(mean)


def test_a_given_foreground_is_premultiplied_for_a_black_filled_model(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pipeline = make_toy_pipeline(tmp_path, foreground_fill="black")
    seen = spy_on_network(pipeline, monkeypatch)
    rgb, alpha = torch.rand(5, 3, 32, 32), torch.zeros(5, 1, 32, 32)
    given = {"foreground_1": rgb, "alpha_1": alpha}

    take = pipeline(PROMPTS, **FORMAT, given=given)
    pipeline(PROMPTS, **FORMAT, given={**given, "foreground_1": torch.zeros_like(rgb)})

    assert torch.equal(seen[0][0][:, 2], seen[-1][0][:, 2])
    assert take.layers[1].rgb_TCHW is rgb


def test_a_given_foregrounds_colour_is_extended_for_a_model_of_the_other_fill(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pipeline = make_toy_pipeline(tmp_path, foreground_fill="bleed")
    seen = spy_on_network(pipeline, monkeypatch)
    alpha = torch.zeros(5, 1, 32, 32)
    alpha[:, :, 8:24, 8:24] = 1
    rgb = torch.rand(5, 3, 1, 1).expand(-1, -1, 32, 32)

    pipeline(PROMPTS, **FORMAT, given={"foreground_1": rgb, "alpha_1": alpha})
    pipeline(PROMPTS, **FORMAT, given={"foreground_1": rgb * alpha, "alpha_1": alpha})

    torch.testing.assert_close(seen[-1][0][:, 2], seen[0][0][:, 2])


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
        pipeline(PROMPTS, **FORMAT, given=_streams(take))


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


def test_pictures_smaller_than_a_tile_are_the_same_in_tiles(
    pipeline: LayerT2VPipeline, take: Stack
) -> None:
    tiled = pipeline(PROMPTS, **FORMAT, tile_decode=True)

    for name, frames_TCHW in _streams(take).items():
        torch.testing.assert_close(_streams(tiled)[name], frames_TCHW, atol=1e-5, rtol=0)


def test_a_model_whose_vae_has_no_levels_refuses_tiles(
    pipeline: LayerT2VPipeline, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("layert2v_model.vae.codec.can_tile", lambda vae: False)

    with pytest.raises(InvalidShot, match="leave tile_decode off"):
        pipeline(PROMPTS, **FORMAT, tile_decode=True)


@torch.no_grad()
def _break(module: torch.nn.Module, value: float) -> None:
    """Give a network's last parameter a number that spoils all that it makes."""
    *_, last = module.parameters()
    last.fill_(value)


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
@pytest.mark.parametrize(
    ("part", "words"),
    [
        ("transformer", "denoising made .* in full, background, .* and alpha_2"),
        ("vae.decoder", "decoding made .* in full, background, foreground_1 and foreground_2"),
        ("alpha_vae.decoder", "decoding made .* in alpha_1 and alpha_2"),
        ("text_encoder.encoder", "denoising made"),
    ],
)
def test_a_network_whose_numbers_are_not_finite_makes_no_take(
    tmp_path: Path, part: str, words: str, value: float
) -> None:
    pipeline = make_toy_pipeline(tmp_path)
    module: Any = pipeline
    for name in part.split("."):
        module = getattr(module, name)
    _break(module, value)
    shown: list[slice] = []

    with pytest.raises(NotFinite, match=words):
        pipeline(PROMPTS, **FORMAT, on_frames=lambda stack, frames: shown.append(frames))

    assert shown == []
