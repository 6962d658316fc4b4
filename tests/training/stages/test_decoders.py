from dataclasses import replace
from pathlib import Path

import pytest
import torch
from diffusers import AutoencoderKLWan

from layert2v_model.vae import codec
from layert2v_model.vae.alpha_vae import ProjectIn
from layert2v_training.cache.captions import CaptionStates
from layert2v_training.codecs.linear_vae import LinearVaeSize, encode_pixels, make_vae, set_linear
from layert2v_training.data.clips import LayeredClip
from layert2v_training.learning.optimizers import LoopRecipe
from layert2v_training.runs.model_export import text_encoder_folder
from layert2v_training.runs.recipes import debug
from layert2v_training.scenes.composing import SceneSource
from layert2v_training.scenes.effects import SOFT_MATTES
from layert2v_training.stages.decoders import (
    DecodersRecipe,
    FrameMaker,
    Frames,
    border_loss,
    forget_past,
    shown_error,
    train_decoder,
)
from layert2v_training.stages.joint import TINY_TRANSFORMER, make_transformer

SIZE = LinearVaeSize(z_dim=12, encoder_dim=32, decoder_dim=32)
RECIPE = DecodersRecipe(
    LoopRecipe(num_steps=40, learning_rate=2e-3, warmup_steps=1, autocast=None, ema_decay=0.9),
    batch_size=4,
    frames_per_clip=2,
)


@pytest.fixture
def vae() -> AutoencoderKLWan:
    torch.manual_seed(0)
    vae = make_vae(SIZE)
    set_linear(vae, 2 * torch.rand(4, 3, 2, 16, 32) - 1)
    return vae.eval()


@pytest.fixture(scope="module")
def source(assets: Path) -> SceneSource:
    return SceneSource(assets, replace(debug().joint_scene, foregrounds=(1, 2), seed=4))


def make_frames(
    vae: AutoencoderKLWan, source: SceneSource, *, are_made_again: bool = True, **changes
) -> tuple[Frames, Frames]:
    torch.manual_seed(1)
    settings = {"num_layers": 1, "ffn_dim": 8, "in_channels": 12, "out_channels": 12}
    model = make_transformer({**TINY_TRANSFORMER, **settings})
    captions = CaptionStates.read(text_encoder_folder())
    maker = FrameMaker(model, vae, ProjectIn(12, 8).eval(), captions, replace(RECIPE, **changes))
    return maker.frames(source, num_clips=2, are_made_again=are_made_again)


def test_frames_that_were_not_noised_are_the_encoders(vae, source: SceneSource) -> None:
    colours, mattes = make_frames(vae, source, levels=(0.0, 0.0))

    clips = [source.clip(0), source.clip(1)]
    assert len(mattes.pixels_M3HW) == 2 * sum(len(clip.foregrounds) for clip in clips)
    assert len(colours.pixels_M3HW) == len(mattes.pixels_M3HW) + 2 * 2 * len(clips)
    for frames in (colours, mattes):
        assert torch.equal(frames.made_MCHW, frames.exact_MCHW)
        pixels = frames.pixels_M3HW[:, :, None].float() / 255
        encoded = encode_pixels(vae, pixels)[:, :, 0]
        torch.testing.assert_close(frames.exact_MCHW.float(), encoded, atol=1e-2, rtol=0)
    assert any((colours.pixels_M3HW[0] == frame).all() for frame in _bytes(clips))


def test_frames_that_were_noised_show_the_clip_and_errors(vae, source: SceneSource) -> None:
    colours, _ = make_frames(vae, source, levels=(0.3, 0.3))

    error = (colours.made_MCHW.float() - colours.exact_MCHW.float()).square().mean().sqrt()
    assert 0.01 < error < 0.5
    assert torch.equal(colours.made_MCHW, make_frames(vae, source, levels=(0.3, 0.3))[0].made_MCHW)


def test_soft_mattes_are_learned_as_the_encoder_sees_them(vae, source: SceneSource) -> None:
    soft = SceneSource(source.assets, replace(source.recipe, effects=SOFT_MATTES))

    colours, mattes = make_frames(vae, soft, are_made_again=False)

    for frames in (colours, mattes):
        assert torch.equal(frames.made_MCHW, frames.exact_MCHW)
    in_between = ((mattes.pixels_M3HW > 30) & (mattes.pixels_M3HW < 225)).float().mean()
    assert in_between > 0.05


def test_only_jumps_at_the_borders_of_patches_count() -> None:
    columns = torch.arange(24)
    at_borders = (columns // 8).float().expand(1, 3, 1, 16, 24)
    inside = ((columns + 4) // 8).float().expand(1, 3, 1, 16, 24)

    assert border_loss(at_borders, 8) == pytest.approx(0.5)
    assert border_loss(inside, 8) == 0
    assert border_loss(at_borders.mT, 8) == pytest.approx(0.5)


@torch.no_grad()
def test_a_decoder_without_past_decodes_each_frame_alone(vae) -> None:
    for parameter in vae.decoder.parameters():
        parameter.add_(0.02 * torch.randn_like(parameter))
    forget_past(vae.decoder)
    latents = torch.randn(1, 12, 3, 2, 4)

    together = codec.decode_raw(vae, latents)

    alone = torch.cat([codec.decode_raw(vae, frame) for frame in latents.split(1, dim=2)], dim=2)
    torch.testing.assert_close(together, alone, atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize("is_matte", [False, True])
def test_a_decoder_learns_what_was_made_and_the_encoder_stays(
    vae, source: SceneSource, tmp_path: Path, is_matte: bool
) -> None:
    frames = make_frames(vae, source, levels=(0.4, 0.6))[is_matte]
    before = {name: value.clone() for name, value in vae.state_dict().items()}

    def error() -> float:
        decoded = codec.decode_raw(vae, frames.made_MCHW.float()[:, :, None])[:, :, 0]
        shown = decoded.clamp(-1, 1)
        return float((shown - (frames.pixels_M3HW.float() / 127.5 - 1)).abs().mean())

    with torch.no_grad():
        untaught = error()
    train_decoder(tmp_path, vae, frames, RECIPE, is_matte=is_matte)

    with torch.no_grad():
        assert error() < 0.9 * untaught
    for name, value in vae.state_dict().items():
        if name.startswith(("encoder", "quant_conv")):
            assert torch.equal(value, before[name]), name


def _bytes(clips: list[LayeredClip]) -> list[torch.Tensor]:
    return [
        torch.from_numpy((frame * 255 + 0.5).astype("uint8")).permute(2, 0, 1)
        for clip in clips
        for frame in clip.full_THWC
    ]


def test_only_what_a_picture_shows_is_an_error() -> None:
    target = torch.tensor([-1.0, -1.0, 1.0, 1.0, 0.9, -0.9, 1.0])
    decoded = torch.tensor([-1.2, -0.9, 1.25, 0.8, 1.2, -1.2, 2.0])

    error = shown_error(decoded, target)

    torch.testing.assert_close(error, torch.tensor([0.0, 0.1, 0.0, -0.2, 0.3, -0.3, 0.75]))
