"""Imports that are refused, and leave nothing behind."""

import json
import resource
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from support.importing import import_into, refusal

# ---------------------------------------------------------------------------------------------
# Refusals


@pytest.mark.parametrize(
    "name",
    [
        "wan/config.json",
        "wan/Wan2.1_VAE.pth",
        "wan/models_t5_umt5-xxl-enc-bf16.pth",
        "wan/google/umt5-xxl/tokenizer.json",
        "trained/adapter_config.json",
        "trained/adapter_model.safetensors",
        "trained/mask_vae_lora.pt",
    ],
)
def test_a_missing_file_is_named(name: str, folder: Path) -> None:
    (folder / name).unlink()

    assert f"lacks {name.split('/', 1)[1]}" in refusal(folder)


def test_all_missing_files_are_named_at_once(folder: Path) -> None:
    for path in (folder / "wan_diffusers" / "text_encoder").iterdir():
        path.unlink()
    (folder / "wan_diffusers" / "vae" / "config.json").unlink()

    sentence = refusal(folder, wan="wan_diffusers")

    assert "vae/config.json, text_encoder/config.json, text_encoder/model*.safet" in sentence


@pytest.mark.slow
def test_a_missing_average_is_asked_for_only_with_ema(folder: Path) -> None:
    shutil.rmtree(folder / "trained" / "ema")

    assert "lacks ema/ema_model.pt" in refusal(folder, "--ema")
    assert import_into(folder / "out", folder).exit_code == 0


def test_another_mask_mode_is_named(folder: Path) -> None:
    (folder / "trained" / "mask_vae_lora.pt").rename(folder / "trained" / "mask_vae_projects.pt")

    assert "mask_vae_projects.pt of a mask mode that is not" in refusal(folder)


@pytest.mark.parametrize(
    "name",
    [
        "wan/diffusion_pytorch_model-00002-of-00002.safetensors",
        "wan/Wan2.1_VAE.pth",
        "wan/models_t5_umt5-xxl-enc-bf16.pth",
        "trained/adapter_model.safetensors",
        "trained/mask_vae_lora.pt",
        "trained/ema/ema_model.pt",
    ],
)
def test_a_truncated_file_is_named(name: str, folder: Path) -> None:
    data = (folder / name).read_bytes()
    (folder / name).write_bytes(data[: len(data) // 2])

    assert f"{name} cannot be read" in refusal(folder, "--ema")


def test_a_missing_shard_is_a_list_of_tensors(folder: Path) -> None:
    (folder / "wan" / "diffusion_pytorch_model-00002-of-00002.safetensors").unlink()

    sentence = refusal(folder, most=1000)

    assert "missing" in sentence
    assert "more" in sentence


def _change(path: Path, change: Callable[[dict[str, torch.Tensor]], None]) -> None:
    """Edit the state dict in a file of either kind."""
    if path.suffix == ".safetensors":
        state = load_file(path)
        state = {name: value.clone() for name, value in state.items()}
        change(state)
        save_file(state, path, {"format": "pt"})
    else:
        state = torch.load(path, weights_only=True)
        change(state.get("decoder_lora", state))
        torch.save(state, path)


_PLACES = [
    ("wan/diffusion_pytorch_model-00001-of-00002.safetensors", "blocks.1.ffn.0.weight"),
    ("wan/Wan2.1_VAE.pth", "decoder.middle.0.residual.2.bias"),
    ("wan/models_t5_umt5-xxl-enc-bf16.pth", "blocks.1.ffn.fc1.weight"),
    ("trained/adapter_model.safetensors", "base_model.model.blocks.1.ffn.2.lora_B.weight"),
    ("trained/adapter_model.safetensors", "base_model.model.layer_adaln.layer_modulation"),
    ("trained/mask_vae_lora.pt", "model.decoder.middle.2.residual.6.lora_up.weight"),
]


@pytest.mark.parametrize(("path", "name"), _PLACES, ids=[name for _, name in _PLACES])
@pytest.mark.parametrize("damage", ["missing", "unexpected", "of another shape"])
def test_tensors_must_be_exactly_those_of_the_release(
    path: str, name: str, damage: str, folder: Path
) -> None:
    def change(state: dict[str, torch.Tensor]) -> None:
        if damage == "unexpected":
            state["stray.weight"] = torch.zeros(1)
        elif damage == "missing":
            del state[name]
        else:
            state[name] = state[name].flatten()[:-1]

    _change(folder / path, change)

    sentence = refusal(folder)
    if damage == "unexpected":
        assert "stray.weight" in sentence
    elif damage == "missing":
        assert "issing" in sentence


def test_a_lora_that_leaves_out_a_whole_map_is_refused(folder: Path) -> None:
    def change(state: dict[str, torch.Tensor]) -> None:
        for end in "AB":
            del state[f"base_model.model.blocks.0.cross_attn.k.lora_{end}.weight"]

    _change(folder / "trained" / "adapter_model.safetensors", change)

    assert "2 missing: blocks.0.cross_attn.k.lora_A" in refusal(folder)


def test_a_decoder_lora_that_leaves_out_a_convolution_is_refused(folder: Path) -> None:
    def change(state: dict[str, torch.Tensor]) -> None:
        for end in ("down", "up"):
            del state[f"model.conv2.lora_{end}.weight"]

    _change(folder / "trained" / "mask_vae_lora.pt", change)

    assert "2 missing: post_quant_conv.lora_down.weight" in refusal(folder)


@pytest.mark.parametrize(
    ("setting", "value"),
    [
        ("use_dora", True),
        ("use_rslora", True),
        ("bias", "all"),
        ("peft_type", "LOHA"),
        ("rank_pattern", {"ffn.0": 8}),
        ("modules_to_save", None),
        ("r", 5),
        ("lora_alpha", None),
        ("lora_alpha", "six"),
    ],
)
def test_an_adapter_of_another_kind_is_refused(setting: str, value: object, folder: Path) -> None:
    path = folder / "trained" / "adapter_config.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), setting: value}))

    assert {"r": "rank"}.get(setting, setting) in refusal(folder)


def test_a_decoder_lora_of_another_rank_than_its_config_is_refused(folder: Path) -> None:
    path = folder / "trained" / "mask_vae_lora.pt"
    content = torch.load(path, weights_only=True)
    content["config"]["lora_rank"] = 8
    torch.save(content, path)

    assert "is not a convolution of rank 8" in refusal(folder)


def test_sizes_that_are_no_counts_are_refused(folder: Path) -> None:
    path = folder / "wan" / "config.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), "num_heads": "four"}))

    assert "no usable" in refusal(folder)


@pytest.mark.parametrize("num_extra", [-2, 2])
def test_an_average_of_another_length_is_refused(num_extra: int, folder: Path) -> None:
    path = folder / "trained" / "ema" / "ema_model.pt"
    average = torch.load(path, weights_only=True)
    values = average["shadow_params"]
    average["shadow_params"] = [*values, *values][: len(values) + num_extra]
    torch.save(average, path)

    assert "tensors, the adapter has 53" in refusal(folder, "--ema")


def test_an_average_in_another_order_is_refused(folder: Path) -> None:
    path = folder / "trained" / "ema" / "ema_model.pt"
    average = torch.load(path, weights_only=True)
    average["shadow_params"].reverse()
    torch.save(average, path)

    assert "where text_embedding.0 has" in refusal(folder, "--ema")


def test_a_file_that_could_run_code_is_refused(folder: Path) -> None:
    torch.save({"project_in": Path("x")}, folder / "trained" / "mask_vae_lora.pt")

    assert "holds pathlib.PosixPath, which could run code" in refusal(folder)


def test_an_image_model_is_refused(folder: Path) -> None:
    path = folder / "wan" / "config.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), "model_type": "i2v"}))

    assert "of type i2v" in refusal(folder)


@pytest.mark.parametrize(
    ("options", "sentence"),
    [(["--width", "330"], "width 330"), (["--num-frames", "10"], "10")],
)
def test_a_format_the_model_cannot_do_is_refused(
    options: list[str], sentence: str, originals: Path, folder: Path
) -> None:
    assert sentence in refusal(folder, *options)


def test_a_folder_that_exists_is_not_touched(folder: Path) -> None:
    (folder.parent / "out").mkdir()
    (folder.parent / "out" / "mine").write_text("")

    assert "exists already" in refusal(folder)


@pytest.mark.slow
def test_a_disk_that_fills_up_leaves_nothing(folder: Path) -> None:
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, limits[1]))
    try:
        sentence = refusal(folder)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)

    assert "cannot be written" in sentence
