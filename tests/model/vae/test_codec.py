import pytest
import torch
from diffusers import AutoencoderKLWan

from layert2v_model.vae import codec
from layert2v_training.codecs.linear_vae import LinearVaeSize, make_vae
from support.toy_model import make_toy_vae


@pytest.fixture(autouse=True)
def _seeded() -> None:
    torch.manual_seed(3)


def test_chunked_decoding_equals_the_librarys() -> None:
    vae = make_toy_vae().eval()
    latents = torch.randn(2, 4, 3, 4, 4)

    with torch.no_grad():
        ours = codec.decode(vae, latents)
        theirs = vae.decode(codec.denormalise(vae, latents)).sample

    torch.testing.assert_close(ours, (theirs + 1) / 2)


def test_stopping_between_chunks_leaves_the_next_decoding_as_it_was() -> None:
    vae = make_toy_vae().eval()
    latents = torch.randn(1, 4, 3, 4, 4)

    with torch.no_grad():
        whole = codec.decode_raw(vae, latents)
        chunks = codec.decode_chunks(vae, latents)
        next(chunks)
        chunks.close()
        again = codec.decode_raw(vae, latents)

    assert torch.equal(whole, again)


def test_encoding_is_normalised_by_the_config_and_deterministic() -> None:
    vae = make_toy_vae().eval()
    pixels = torch.rand(1, 3, 9, 16, 24)

    with torch.no_grad():
        latents = codec.encode(vae, pixels)
        raw = vae.encode(2 * pixels - 1).latent_dist.mode()

    assert latents.shape == (1, 4, codec.num_latent_frames(vae, 9), 2, 3)
    torch.testing.assert_close(codec.denormalise(vae, latents), raw)


def test_without_resampling_in_time_any_number_of_frames_is_encoded() -> None:
    vae = make_vae(LinearVaeSize(z_dim=4, encoder_dim=16, decoder_dim=16)).eval()
    pixels = torch.rand(1, 3, 9, 16, 16)

    with torch.no_grad():
        whole, part = codec.encode(vae, pixels), codec.encode(vae, pixels[:, :, :6])

    assert codec.frame_step(vae) == 1
    assert codec.frame_step(make_toy_vae()) == 4
    torch.testing.assert_close(part, whole[:, :, :6])


def test_factors_follow_the_config() -> None:
    vae = make_toy_vae()

    assert codec.spatial_factor(vae) == 8
    assert codec.temporal_factor(vae) == 4


def test_gradients_flow_through_chunked_decoding() -> None:
    vae = make_toy_vae()
    latents = torch.randn(1, 4, 2, 2, 2, requires_grad=True)

    codec.decode_raw(vae, latents).square().mean().backward()

    assert latents.grad is not None
    assert latents.grad.abs().max() > 0


def test_a_vae_without_time_compression_decodes_several_frames_at_once() -> None:
    vae = AutoencoderKLWan(
        base_dim=4, z_dim=4, dim_mult=[1], num_res_blocks=1, temperal_downsample=[],
        in_channels=48, out_channels=48, patch_size=4,
        latents_mean=[0.0] * 4, latents_std=[1.0] * 4,
    ).eval()  # fmt: skip
    latents = torch.randn(1, 4, 9, 2, 3)

    with torch.no_grad():
        chunks = list(codec.decode_chunks(vae, latents))
        theirs = vae.decode(latents).sample

    assert len(chunks) == codec.num_decode_steps(vae, latents) == 3
    torch.testing.assert_close(codec.to_unit(torch.cat(chunks, dim=2)), (theirs + 1) / 2)
    assert codec.encode(vae, torch.rand(1, 3, 9, 8, 12)).shape == latents.shape


def test_tiles_decode_nearly_the_same_and_leave_the_vae_as_it_was(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    vae = make_toy_vae().eval()
    for side in ("height", "width"):
        monkeypatch.setattr(vae, f"tile_sample_min_{side}", 64)
        monkeypatch.setattr(vae, f"tile_sample_stride_{side}", 32)
    latents = torch.randn(1, 4, 2, 12, 12)

    with torch.no_grad():
        tiled = codec.decode_tiled(vae, latents)
        whole = codec.decode_raw(vae, latents).clamp(-1, 1)

    assert tiled.shape == whole.shape
    assert 0 < (tiled - whole).abs().mean() < 0.1 * whole.abs().mean()
    assert not vae.use_tiling
