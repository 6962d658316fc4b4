import copy
import json

import pytest
import torch
from safetensors.torch import load_file, save_file

from layert2v_model.vae import codec
from layert2v_model.vae.alpha_vae import (
    ProjectIn,
    add_decoder_lora,
    encode_alpha,
    load_project_in,
    merge_decoder_lora,
    rgb_to_alpha,
    save_alpha_vae,
)
from support.toy_model import make_toy_project_in, make_toy_vae


@pytest.fixture(autouse=True)
def _seeded() -> None:
    torch.manual_seed(5)


def _with_random_lora():
    vae = make_toy_vae().eval()
    plain = copy.deepcopy(vae)
    trained = add_decoder_lora(vae, rank=3, alpha=6.0)
    with torch.no_grad():
        for parameter in trained:
            parameter.normal_(std=0.1)
    return plain, vae, trained


def test_a_fresh_lora_changes_nothing() -> None:
    vae = make_toy_vae().eval()
    latents = torch.randn(1, 4, 2, 2, 2)
    before = codec.decode_raw(vae, latents)

    add_decoder_lora(vae, rank=2, alpha=2.0)

    torch.testing.assert_close(codec.decode_raw(vae, latents), before, atol=0, rtol=0)


def test_merging_is_exact_and_leaves_a_plain_vae() -> None:
    plain, vae, _ = _with_random_lora()
    latents = torch.randn(1, 4, 3, 4, 4)
    adapted = codec.decode_raw(vae, latents)

    merge_decoder_lora(vae)

    assert vae.state_dict().keys() == plain.state_dict().keys()
    assert torch.equal(codec.decode_raw(vae, latents), adapted)
    assert (adapted - codec.decode_raw(plain, latents)).abs().max() > 1e-3


def test_the_merged_convolution_equals_the_releases_parallel_branch() -> None:
    plain, vae, _ = _with_random_lora()
    update = vae.decoder.conv_in.parametrizations.weight[0]
    base = plain.decoder.conv_in
    x = torch.randn(1, 4, 3, 4, 4)

    down = copy.deepcopy(base)
    down.weight, down.bias = update.down, None
    branch = torch.einsum("or,brthw->bothw", update.up, down(x)) * (6.0 / 3)

    torch.testing.assert_close(vae.decoder.conv_in(x), base(x) + branch, atol=1e-5, rtol=1e-5)


def test_only_the_lora_trains() -> None:
    _, vae, trained = _with_random_lora()

    codec.decode_raw(vae, torch.randn(1, 4, 2, 2, 2)).square().mean().backward()

    assert all(parameter.grad is not None for parameter in trained)
    ids = {id(parameter) for parameter in trained}
    assert all(p.grad is None for p in vae.parameters() if id(p) not in ids)


def test_a_fresh_projector_is_the_identity_but_can_learn() -> None:
    project_in = ProjectIn(latent_channels=4, hidden_channels=8)
    latents = torch.randn(1, 4, 3, 2, 2)

    projected = project_in(latents)
    projected.square().mean().backward()

    assert torch.equal(projected, latents)
    assert project_in.gate.grad.abs() > 0


def test_the_projector_is_causal_in_time() -> None:
    project_in = make_toy_project_in()
    latents = torch.randn(1, 4, 3, 2, 2)
    later = latents.clone()
    later[:, :, 2] += 1

    with torch.no_grad():
        before, after = project_in(latents), project_in(later)

    assert torch.equal(before[:, :, :2], after[:, :, :2])
    assert not torch.equal(before[:, :, 2], after[:, :, 2])


def test_alpha_goes_through_latents_and_back_in_range() -> None:
    vae, project_in = make_toy_vae().eval(), make_toy_project_in()

    with torch.no_grad():
        latents = encode_alpha(vae, project_in, torch.rand(1, 1, 5, 16, 16))
        alpha = rgb_to_alpha(codec.decode_raw(vae, latents))

    assert latents.shape == (1, 4, 2, 2, 2)
    assert alpha.shape == (1, 1, 5, 16, 16)
    assert 0 <= alpha.min() <= alpha.max() <= 1


def test_an_alpha_vae_folder_holds_the_projector_and_its_settings(tmp_path) -> None:
    project_in = make_toy_project_in()

    save_alpha_vae(make_toy_vae(), project_in, tmp_path)
    again = load_project_in(tmp_path)

    assert again.settings == project_in.settings
    latents = torch.randn(1, 4, 2, 2, 2)
    torch.testing.assert_close(again(latents), project_in(latents))


def test_a_projector_file_with_an_extra_tensor_is_refused(tmp_path) -> None:
    project_in = make_toy_project_in()
    save_alpha_vae(make_toy_vae(), project_in, tmp_path)
    path = tmp_path / "project_in.safetensors"
    metadata = {"project_in": json.dumps(project_in.settings)}
    save_file({**load_file(path), "stray": torch.zeros(1)}, path, metadata)

    with pytest.raises(RuntimeError, match="stray"):
        load_project_in(tmp_path)
