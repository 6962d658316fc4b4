"""Checkpoints whose values are not finite, or do not fit, are refused by name."""

from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from layert2v_model.errors import DamagedModel
from layert2v_model.folders.model_folder import read_transformer, read_vae
from support.importing import ADAPTER, SHARDS, changed, import_into, refusal

# ---------------------------------------------------------------------------------------------
# Values


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
@pytest.mark.parametrize(
    ("path", "name"),
    [
        (ADAPTER, "base_model.model.blocks.1.ffn.2.lora_B.weight"),
        (ADAPTER, "base_model.model.layer_adaln.layer_modulation"),
        (SHARDS.format(1), "blocks.1.ffn.0.weight"),
    ],
)
def test_a_tensor_that_is_not_finite_is_named(
    path: str, name: str, value: float, folder: Path
) -> None:
    changed(folder / path, lambda state: state[name].view(-1)[:1].fill_(value))

    sentence = refusal(folder)
    assert "NaN or infinity" in sentence
    assert "blocks.1.ffn" in sentence or "layer_modulation" in sentence


@pytest.mark.parametrize(
    ("path", "part", "name"),
    [
        ("wan/Wan2.1_VAE.pth", "", "decoder.middle.0.residual.2.bias"),
        ("wan/models_t5_umt5-xxl-enc-bf16.pth", "", "blocks.1.ffn.fc1.weight"),
        ("trained/mask_vae_lora.pt", "decoder_lora", "model.conv2.lora_up.weight"),
        ("trained/mask_vae_lora.pt", "project_in", "in_conv.weight"),
    ],
)
def test_a_pickled_tensor_that_is_not_finite_is_refused(
    path: str, part: str, name: str, folder: Path
) -> None:
    content = torch.load(folder / path, weights_only=True)
    (content[part] if part else content)[name].view(-1)[0] = float("nan")
    torch.save(content, folder / path)

    assert "NaN or infinity" in refusal(folder)


def test_an_average_that_is_not_finite_is_refused(folder: Path) -> None:
    path = folder / "trained" / "ema" / "ema_model.pt"
    average = torch.load(path, weights_only=True)
    average["shadow_params"][3].view(-1)[0] = float("nan")
    torch.save(average, path)

    assert "shadow_params[3]" in refusal(folder, "--ema")


def test_values_beyond_half_precision_are_refused_by_size(folder: Path) -> None:
    name = "base_model.model.blocks.0.ffn.0.lora_B.weight"
    changed(folder / ADAPTER, lambda state: state[name].mul_(1e6))

    sentence = refusal(folder, "--dtype", "float16")

    assert "does not fit float16" in sentence
    assert "bfloat16" in sentence
    assert import_into(folder / "wide", folder, "--dtype", "bfloat16").exit_code == 0


def test_a_model_folder_with_a_value_that_is_no_number_is_damaged(
    folder: Path, originals: Path
) -> None:
    for place, name, read in (
        ("transformer", "proj_out.bias", lambda root: read_transformer(root, torch.float32)),
        ("vae", "decoder.conv_in.bias", lambda root: read_vae(root, "vae")),
    ):
        path = folder / "wan_diffusers" / place / "diffusion_pytorch_model.safetensors"
        changed(path, lambda state, name=name: state[name][:1].fill_(float("nan")))
        if place == "transformer":
            extra = {"layer_adaln.layer_modulation", "layer_adaln.foreground_modulation"}
            table = torch.zeros(4, 6, load_file(path)["proj_out.weight"].shape[1])
            numbers = torch.zeros(1, 6, table.shape[2])
            tables = dict(zip(sorted(extra, reverse=True), (table, numbers), strict=True))
            changed(path, lambda state, tables=tables: state.update(tables))
        with pytest.raises(DamagedModel, match=f"{name} holds NaN or infinity"):
            read(folder / "wan_diffusers")
