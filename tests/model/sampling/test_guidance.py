from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

from layert2v_model.errors import InvalidShot
from layert2v_model.loading import load_pipeline
from layert2v_model.pipeline import Given, LayerT2VPipeline, ShotPrompts, save_pipeline
from layert2v_model.sampling.guidance import Guidance
from layert2v_model.sampling.reuse import streams_of
from layert2v_model.stack import Stack
from support.spying import spy_on_network
from support.toy_model import TOY_CARD, make_toy_pipeline

PROMPTS = ShotPrompts("", "a beach", ("a red fox",), negative="a ball")
FORMAT: dict[str, Any] = {
    "width": 32,
    "height": 32,
    "num_frames": 5,
    "num_inference_steps": 2,
    "guidance_scale": 2.0,
    "stream_seeds": {"full": 1, "background": 2, "foreground_1": 3},
}
PLATE = torch.full((5, 3, 32, 32), 0.25)
NAMES = ("full", "background", "foreground_1", "alpha_1")


@pytest.fixture(scope="module")
def pipeline(tmp_path_factory: pytest.TempPathFactory) -> LayerT2VPipeline:
    return make_toy_pipeline(tmp_path_factory.mktemp("toy"))


@pytest.fixture(scope="module")
def take(pipeline: LayerT2VPipeline) -> Stack:
    return pipeline(PROMPTS, **FORMAT)


def test_a_scale_per_layer_equal_to_the_shots_changes_nothing(
    pipeline: LayerT2VPipeline, take: Stack
) -> None:
    scales = dict.fromkeys(NAMES, 2.0)

    again = pipeline(PROMPTS, **{**FORMAT, "guidance_scale": 1.0}, layer_guidance_scales=scales)

    for name, frames in streams_of(take).items():
        assert torch.equal(streams_of(again)[name], frames)


def test_a_foregrounds_scale_is_its_alphas_too_unless_that_is_named() -> None:
    guidance = Guidance(2.0, {"foreground_1": 3.0, "alpha_2": 4.0})

    scales = guidance.by_stream([*NAMES, "foreground_2", "alpha_2"], torch.device("cpu"))

    assert scales.scale_BSCTHW is not None
    assert scales.scale_BSCTHW.flatten().tolist() == [2, 2, 3, 3, 2, 4]


def test_each_stream_is_driven_by_its_own_scale() -> None:
    wanted, unwanted = torch.rand(2, 1, 4, 1, 1, 1, 1)
    guidance = Guidance(1.0, {"foreground_1": 3.0}).by_stream(NAMES, torch.device("cpu"))

    guided = guidance.combine(torch.cat([wanted, unwanted]))

    expected = torch.where(
        torch.tensor([False, False, True, True]).view(1, 4, 1, 1, 1, 1),
        unwanted + 3 * (wanted - unwanted),
        wanted,
    )
    torch.testing.assert_close(guided, expected)


def test_guidance_on_givens_leads_away_from_the_entry_that_hides_them() -> None:
    wanted, unwanted, hidden = torch.rand(3, 1, 4, 1, 1, 1, 1)
    guidance = Guidance(2.0, given=1.5).by_stream(NAMES, torch.device("cpu"))

    guided = guidance.combine(torch.cat([wanted, unwanted, hidden]))

    expected = wanted + (wanted - unwanted) + 0.5 * (wanted - hidden)
    torch.testing.assert_close(guided, expected)


@pytest.mark.parametrize(("scale", "entries"), [(2.0, 3), (1.0, 2)])
def test_guidance_on_givens_adds_one_entry_in_which_they_are_noise_at_t_1(
    scale: float,
    entries: int,
    pipeline: LayerT2VPipeline,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    seen = spy_on_network(pipeline, monkeypatch)
    shot = {**FORMAT, "guidance_scale": scale, "given": {"background": PLATE}}

    pipeline(PROMPTS, **shot, given_guidance_scale=2.0)

    clean = pipeline.encode_stream("background", PLATE)
    for latents, timesteps in seen:
        assert len(latents) == entries
        assert torch.equal(latents[0, 1], clean)
        assert abs(float(latents[-1, 1].std()) - 1) < 0.2
        assert timesteps[:, 1].flatten().tolist() == [0.0] * (entries - 1) + [1000.0]
        assert torch.equal(latents[0, [0, 2, 3]], latents[-1, [0, 2, 3]])
        assert torch.equal(timesteps[0, [0, 2, 3]], timesteps[-1, [0, 2, 3]])


def test_guidance_on_givens_matters(pipeline: LayerT2VPipeline) -> None:
    shot = {**FORMAT, "given": {"background": PLATE}}

    takes = [pipeline(PROMPTS, **shot, given_guidance_scale=scale) for scale in (1.0, 2.0)]

    assert not torch.equal(takes[0].full_TCHW, takes[1].full_TCHW)


def test_the_text_is_encoded_once_a_job(
    pipeline: LayerT2VPipeline, monkeypatch: pytest.MonkeyPatch
) -> None:
    encoded: list[str] = []
    encode = pipeline.encode_prompt

    def counting(prompt: str) -> Tensor:
        encoded.append(prompt)
        return encode(prompt)

    monkeypatch.setattr(pipeline, "encode_prompt", counting)
    shot = {**FORMAT, "given": {"background": PLATE}}

    pipeline(PROMPTS, **shot, given_guidance_scale=2.0)

    assert sorted(encoded) == ["a ball", "a beach", "a red fox", "a red fox, in front of a beach"]


def test_nothing_in_the_loop_waits_for_the_device(pipeline: LayerT2VPipeline) -> None:
    watch = _ValuesRead()
    reads: list[int] = []
    given = {
        "background": Given(torch.rand(3, 3, 32, 32)),
        "full": Given(torch.rand(5, 3, 32, 32), region_T1HW=torch.ones(1, 1, 32, 32).bool().tril()),
    }

    def note(stage: str, step: int, num_steps: int) -> None:
        if stage == "denoising":
            reads.append(watch.count)

    with watch:
        pipeline(
            PROMPTS, **FORMAT, given=given, given_guidance_scale=2.0, looped=["foreground_1"],
            layer_guidance_scales={"full": 3.0}, on_progress=note,
        )  # fmt: skip

    assert len(reads) == 3
    assert reads[0] == reads[-1]


class _ValuesRead(TorchDispatchMode):
    """Counts operations that wait for a device's values."""

    count = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if func.overloadpacket.__name__ in ("_local_scalar_dense", "nonzero", "is_nonzero"):
            self.count += 1
        return func(*args, **(kwargs or {}))


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ({"guidance_scale": 0.5}, "guidance 0.5 is out of range"),
        ({"layer_guidance_scales": {"full": 0.0}}, "guidance of full 0.0 is out of range"),
        (
            {"layer_guidance_scales": {"sky": 2.0}},
            "guidance is given for sky, which is not a stream",
        ),
        ({"given_guidance_scale": float("inf")}, "guidance of given layers inf"),
        ({"given_guidance_scale": 2.0}, "no whole frame of tokens is given"),
    ],
)
def test_scales_that_cannot_be_are_refused_first(
    change: dict[str, Any], sentence: str, pipeline: LayerT2VPipeline
) -> None:
    with pytest.raises(InvalidShot, match=sentence):
        pipeline(PROMPTS, **{**FORMAT, **change}, on_progress=_never)


def test_a_model_that_clamps_takes_no_guidance_on_givens(tmp_path: Path) -> None:
    pipeline = make_toy_pipeline(tmp_path, per_stream_timesteps=False)
    shot = {**FORMAT, "given": {"background": PLATE}}

    with pytest.raises(InvalidShot, match="could do without; use 1"):
        pipeline(PROMPTS, **shot, given_guidance_scale=2.0)


@pytest.fixture(scope="module")
def distilled(tmp_path_factory: pytest.TempPathFactory) -> LayerT2VPipeline:
    folder = tmp_path_factory.mktemp("distilled")
    card = {**TOY_CARD, "is_distilled": True}
    model = make_toy_pipeline(folder)
    save_pipeline(model, folder, card, dtype=torch.float32, with_text_encoder=True)
    return load_pipeline(folder)


@pytest.mark.parametrize(
    "change",
    [
        {"guidance_scale": 2.0},
        {"guidance_scale": 1.0, "layer_guidance_scales": {"full": 2.0}},
        {"guidance_scale": 1.0, "given_guidance_scale": 2.0},
    ],
)
def test_a_distilled_model_refuses_guidance(
    change: dict[str, Any], distilled: LayerT2VPipeline
) -> None:
    with pytest.raises(InvalidShot, match="2, but a distilled model runs without guidance; use 1"):
        distilled(PROMPTS, **{**FORMAT, **change}, on_progress=_never)


def test_a_distilled_model_runs_without_guidance(distilled: LayerT2VPipeline) -> None:
    made = distilled(PROMPTS, **{**FORMAT, "guidance_scale": 1.0})

    assert made.full_TCHW.std() > 0


def _never(stage: str, step: int, num_steps: int) -> None:
    raise AssertionError("work began before the shot was checked")
