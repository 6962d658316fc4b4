import pytest
import torch

from layert2v_model.vae import codec
from layert2v_training.codecs.linear_vae import (
    LinearVaeSize,
    channel_weights,
    encode_linear,
    make_vae,
    set_linear,
)
from layert2v_training.codecs.pca_codec import fit_pca
from layert2v_training.stages.vae_training import Decoder

SIZE = LinearVaeSize(z_dim=12, encoder_dim=32, decoder_dim=32)


@pytest.fixture(scope="module")
def videos() -> torch.Tensor:
    generator = torch.Generator().manual_seed(0)
    coarse = torch.rand(6, 3, 5, 4, 6, generator=generator)
    smooth = torch.nn.functional.interpolate(coarse, (5, 32, 48), mode="trilinear")
    noise = 0.05 * torch.rand(smooth.shape, generator=generator)
    return (smooth + noise).clamp(0, 1)


@pytest.fixture(scope="module")
def vae(videos: torch.Tensor):
    torch.manual_seed(0)
    vae = make_vae(SIZE)
    set_linear(vae, 2 * videos - 1)
    return vae.eval()


@torch.no_grad()
def test_the_closed_form_equals_principal_components(vae, videos: torch.Tensor) -> None:
    linear = fit_pca(2 * videos - 1, (1, 8, 8), SIZE.z_dim)

    decoded = codec.decode_raw(vae, codec.encode(vae, videos))

    torch.testing.assert_close(decoded, linear.reconstruct(2 * videos - 1), atol=2e-2, rtol=0)


@torch.no_grad()
def test_encoding_by_one_matrix_equals_the_network(vae, videos: torch.Tensor) -> None:
    torch.testing.assert_close(
        encode_linear(vae, videos), codec.encode(vae, videos), atol=1e-2, rtol=0
    )


@torch.no_grad()
def test_decoding_at_once_equals_decoding_frame_by_frame(vae, videos: torch.Tensor) -> None:
    latents = encode_linear(vae, videos[:2])

    torch.testing.assert_close(
        Decoder(vae)(latents), codec.decode_raw(vae, latents), atol=1e-4, rtol=0
    )


def test_every_decoder_branch_gets_a_gradient(vae, videos: torch.Tensor) -> None:
    vae.requires_grad_(True)
    latents = encode_linear(vae, videos[:1])

    (Decoder(vae)(latents) - videos[:1]).square().mean().backward()

    silent = [
        name
        for name, parameter in vae.decoder.named_parameters()
        if "conv2" in name and (parameter.grad is None or not parameter.grad.any())
    ]
    assert silent == []


@torch.no_grad()
def test_channel_weights_follow_the_pixels_a_channel_moves(vae, videos: torch.Tensor) -> None:
    latents = codec.encode(vae, videos)
    before = codec.decode_raw(vae, latents)
    moved = []
    for channel in (0, SIZE.z_dim - 1):
        changed = latents.clone()
        changed[:, channel] += 1
        moved.append((codec.decode_raw(vae, changed) - before).square().mean().sqrt())

    weights = channel_weights(vae)

    assert float(weights.mean()) == pytest.approx(1.0)
    assert float(weights[0] / weights[-1]) == pytest.approx(float(moved[0] / moved[1]), rel=0.05)
