import json
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from diffusers import AutoencoderKLWan
from safetensors import safe_open
from safetensors.torch import save_file

from layert2v_model.errors import InvalidFixture
from layert2v_model.released.fixtures import TOLERANCE, differences, main
from layert2v_model.released.modules import transformer_from_released, vae_from_released
from layert2v_model.released.names import vae_names
from support.waiting import HANG_S

DATA = Path(__file__).parents[2] / "data"
TRANSFORMER = DATA / "official_layered_dit.safetensors"
ALPHA = DATA / "official_mask_vae.safetensors"


def _read(path: Path) -> tuple[dict[str, torch.Tensor], dict[str, str]]:
    with safe_open(path, "pt") as file:
        return {name: file.get_tensor(name) for name in file.keys()}, file.metadata()  # noqa: SIM118


@pytest.mark.parametrize("path", [TRANSFORMER, ALPHA], ids=lambda path: path.stem)
def test_the_authors_outputs_are_reproduced(path: Path) -> None:
    found = dict(differences(path))

    assert found
    assert max(found.values()) < TOLERANCE / 10


def test_verify_prints_each_output_and_succeeds() -> None:
    command = [sys.executable, "-m", "layert2v_model.released", "verify", str(TRANSFORMER)]

    done = subprocess.run(command, capture_output=True, text=True, timeout=HANG_S, check=False)

    assert done.returncode == 0, done.stderr
    assert "output.velocity" in done.stdout


def test_verify_fails_where_an_output_differs(tmp_path, capsys) -> None:
    tensors, metadata = _read(ALPHA)
    tensors["output.alpha"][0, 0, 0, 0, 0] += 3e-4
    save_file(tensors, tmp_path / "moved.safetensors", metadata)

    status = main(["verify", str(tmp_path / "moved.safetensors")])

    assert status == 1
    assert "FAIL" in capsys.readouterr().out


def test_an_output_that_is_not_a_number_fails(tmp_path) -> None:
    tensors, metadata = _read(TRANSFORMER)
    tensors["output.velocity"][0, 0, 0, 0, 0] = torch.nan
    save_file(tensors, tmp_path / "nan.safetensors", metadata)

    assert main(["verify", str(tmp_path / "nan.safetensors")]) == 1


def _missing(path: Path) -> None:
    path.unlink(missing_ok=True)


def _truncated(path: Path) -> None:
    path.write_bytes(TRANSFORMER.read_bytes()[:100_000])


def _text(path: Path) -> None:
    path.write_text("not a safetensors file")


def _folder(path: Path) -> None:
    path.mkdir()


def _unknown_kind(path: Path) -> None:
    save_file({"x": torch.zeros(2)}, path)


def _without_config(path: Path) -> None:
    tensors, metadata = _read(TRANSFORMER)
    save_file(tensors, path, {k: v for k, v in metadata.items() if k != "config"})


def _missing_parameter(path: Path) -> None:
    tensors, metadata = _read(TRANSFORMER)
    del tensors["state_dict.blocks.1.ffn.2.bias"]
    save_file(tensors, path, metadata)


def _unknown_parameter(path: Path) -> None:
    tensors, metadata = _read(ALPHA)
    save_file({**tensors, "vae.decoder.stray.weight": torch.zeros(1)}, path, metadata)


def _orphan_lora(path: Path) -> None:
    tensors, metadata = _read(ALPHA)
    del tensors["decoder_lora.model.conv2.lora_up.weight"]
    save_file(tensors, path, metadata)


def _other_streams(path: Path) -> None:
    tensors, metadata = _read(TRANSFORMER)
    save_file(tensors, path, {**metadata, "streams": "full,background"})


def _without_prompts(path: Path) -> None:
    tensors, metadata = _read(TRANSFORMER)
    save_file(tensors, path, {k: v for k, v in metadata.items() if k != "prompts"})


def _two_prompts(path: Path) -> None:
    tensors, metadata = _read(TRANSFORMER)
    save_file(tensors, path, {**metadata, "prompts": "full,background"})


@pytest.mark.parametrize(
    "damage",
    [
        _missing,
        _truncated,
        _text,
        _folder,
        _unknown_kind,
        _without_config,
        _missing_parameter,
        _unknown_parameter,
        _orphan_lora,
        _other_streams,
        _without_prompts,
        _two_prompts,
    ],
)
def test_a_file_that_cannot_be_checked_gets_one_sentence_and_status_2(
    damage, tmp_path, capsys
) -> None:
    path = tmp_path / "fixture.safetensors"
    damage(path)

    status = main(["verify", str(path), str(TRANSFORMER)])

    captured = capsys.readouterr()
    assert status == 2
    assert captured.err.count("\n") == 1
    assert str(path) in captured.err
    assert "official_layered_dit" in captured.out


def test_every_name_of_the_released_vae_is_mapped() -> None:
    pairs = dict(json.loads((DATA / "vae_name_map.json").read_text()))

    assert vae_names(pairs, num_stages=4, num_res_blocks=2) == pairs
    with torch.device("meta"):
        vae = AutoencoderKLWan(base_dim=8)
    assert set(pairs.values()) == vae.state_dict().keys()


@pytest.mark.parametrize(("stages", "blocks"), [(2, 1), (3, 2), (4, 3)])
def test_vaes_of_any_depth_are_mapped(stages: int, blocks: int) -> None:
    vae = AutoencoderKLWan(
        base_dim=4,
        z_dim=16,
        dim_mult=[1, *[2] * (stages - 1)],
        num_res_blocks=blocks,
        temperal_downsample=[True] * (stages - 1),
    )
    ours = vae.state_dict()
    released = {_released_name(name, blocks): value for name, value in ours.items()}
    settings = {
        "dim": 4,
        "z_dim": 16,
        "dim_mult": vae.config.dim_mult,
        "num_res_blocks": blocks,
        "temperal_downsample": vae.config.temperal_downsample,
    }

    again = vae_from_released(released, settings)

    assert all(torch.equal(again.state_dict()[name], value) for name, value in ours.items())


def _released_name(name: str, blocks: int) -> str:
    """Name a diffusers parameter as the release does, read off its structure."""
    parts = name.split(".")
    if parts[1] == "up_blocks":
        stage, kind, index, *rest = parts[2:]
        flat = int(stage) * (blocks + 2) + (int(index) if kind == "resnets" else blocks + 1)
        parts = ["decoder", "upsamples", str(flat), *rest]
    elif parts[1] == "down_blocks":
        parts[1] = "downsamples"
    text = ".".join(parts)
    in_block = "upsamples" in text or "downsamples" in text or "resnets" in text
    swaps = [
        ("mid_block.resnets.0", "middle.0"),
        ("mid_block.attentions.0", "middle.1"),
        ("mid_block.resnets.1", "middle.2"),
        ("norm_out", "head.0"),
        ("conv_out", "head.2"),
        ("conv_in", "conv1"),
        ("post_quant_conv", "conv2"),
        ("quant_conv", "conv1"),
        ("conv_shortcut", "shortcut"),
    ]
    inner = [
        (".norm1.", ".residual.0."),
        (".conv1.", ".residual.2."),
        (".norm2.", ".residual.3."),
        (".conv2.", ".residual.6."),
    ]
    for ours, theirs in (inner if in_block else []) + swaps:
        text = text.replace(ours, theirs)
    return text


def test_a_base_model_without_layer_identity_gets_zeros() -> None:
    tensors, metadata = _read(TRANSFORMER)
    prefix = "state_dict."
    state = {k.removeprefix(prefix): v for k, v in tensors.items() if k.startswith(prefix)}
    del state["layer_adaln.layer_modulation"]

    model = transformer_from_released(state, json.loads(metadata["config"]), max_foregrounds=3)

    assert model.layer_adaln.layer_modulation.abs().max() == 0
    assert model.config.max_foregrounds == 3


def test_a_parameter_of_another_shape_is_refused() -> None:
    tensors, metadata = _read(TRANSFORMER)
    prefix = "state_dict."
    state = {k.removeprefix(prefix): v for k, v in tensors.items() if k.startswith(prefix)}
    state["blocks.0.modulation"] = state["blocks.0.modulation"][:, :, :5]

    with pytest.raises(InvalidFixture, match="do not fit"):
        transformer_from_released(state, json.loads(metadata["config"]))


def test_a_batch_with_padded_prompts_in_another_order_is_verified_too(tmp_path) -> None:
    tensors, metadata = _read(TRANSFORMER)
    full, foreground, background = tensors["input.prompt_lens"][0].tolist()
    spans = tensors["input.context"].split([full, foreground, background], dim=1)
    padding = torch.full((1, 3, spans[0].shape[2]), 100.0)
    tensors["input.context"] = torch.cat([spans[2], spans[0], spans[1], padding], dim=1)
    tensors["input.prompt_lens"] = torch.tensor([[background, full, foreground]])
    batch = ("input.context", "input.prompt_lens", "input.latents", "input.timestep")
    for name in (*batch, "output.velocity"):
        tensors[name] = torch.cat([tensors[name]] * 2)
    path = tmp_path / "batch.safetensors"
    save_file(tensors, path, {**metadata, "prompts": "background,full,foreground"})

    assert max(dict(differences(path)).values()) < TOLERANCE
