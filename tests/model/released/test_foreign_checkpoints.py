"""Checkpoints as other tools write them: read if they mean the same, else refused by name."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file
from torch import Tensor

from layert2v_model.released.names import transformer_names
from support.importing import ADAPTER, WEIGHTS, changed, import_into, refusal, renamed


@pytest.fixture(scope="module")
def wanted(originals: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Tensor]:
    """The transformer that the unchanged files become."""
    out = tmp_path_factory.mktemp("models") / "released"
    assert import_into(out, originals).exit_code == 0
    return load_file(out / WEIGHTS)


def inside(name: str) -> str:
    return name.removeprefix("base_model.model.")


def as_in_memory(name: str) -> str:
    name = name.replace("lora_A.weight", "lora_A.default.weight")
    name = name.replace("lora_B.weight", "lora_B.default.weight")
    return name.replace("layer_adaln.", "layer_adaln.modules_to_save.default.")


def as_diffusers(name: str) -> str:
    """`blocks.0.self_attn.q.lora_A.weight` as `transformer.blocks.0.attn1.to_q.lora_A.weight`."""
    place, end, rest = inside(name).partition(".lora_")
    ours = transformer_names([f"{place}.weight" if end else place])
    return f"transformer.{next(iter(ours.values())).removesuffix('.weight')}{end}{rest}"


def as_comfy(name: str) -> str:
    name = name.replace("lora_A", "lora_down").replace("lora_B", "lora_up")
    return f"diffusion_model.{inside(name)}"


LORA_NAMES: dict[str, tuple[Callable[[str], str], str]] = {
    "ComfyUI": (lambda name: f"diffusion_model.{inside(name)}", "ComfyUI (diffusion_model.)"),
    "ComfyUI, down and up": (as_comfy, "ComfyUI (.lora_down)"),
    "diffusers": (as_diffusers, "diffusers (transformer.)"),
    "peft in memory": (as_in_memory, "peft in memory"),
    "torch.compile": (
        lambda name: name.replace("base_model.model.", "base_model.model._orig_mod."),
        "torch.compile (_orig_mod.)",
    ),
    "torch.compile of each block": (
        lambda name: name.replace("blocks.0.", "blocks.0._orig_mod."),
        "torch.compile",
    ),
    "several processes": (lambda name: f"module.{name}", "data parallel training (module.)"),
    "sharded": (lambda name: f"_fsdp_wrapped_module.{inside(name)}", "sharded training"),
}


@pytest.mark.parametrize("tool", LORA_NAMES)
def test_an_adapter_under_the_names_of_another_tool_is_the_same_adapter(
    tool: str, folder: Path, wanted: dict[str, Tensor]
) -> None:
    rename, said = LORA_NAMES[tool]
    renamed(folder / ADAPTER, rename)

    result = import_into(folder / "out", folder)

    assert result.exit_code == 0, result.stderr
    assert said in result.stderr
    found = load_file(folder / "out" / WEIGHTS)
    assert all(torch.equal(found[name], value) for name, value in wanted.items())


@pytest.mark.parametrize("wan", ["wan", "wan_diffusers"])
@pytest.mark.parametrize("prefix", ["model.diffusion_model.", "_orig_mod.", "module."])
def test_a_base_under_wrapped_names_is_the_same_base(
    prefix: str, wan: str, folder: Path, wanted: dict[str, Tensor]
) -> None:
    for path in (folder / wan).rglob("diffusion_pytorch_model*.safetensors"):
        if path.parent.name != "vae":
            renamed(path, lambda name: prefix + name)

    result = import_into(folder / "out", folder, wan=wan)

    assert result.exit_code == 0, result.stderr
    assert f"({prefix})" in result.stderr
    found = load_file(folder / "out" / WEIGHTS)
    assert all(torch.equal(found[name], value) for name, value in wanted.items())


def test_a_wrapped_name_of_another_shape_is_refused(folder: Path) -> None:
    renamed(folder / ADAPTER, LORA_NAMES["ComfyUI"][0])
    name = "diffusion_model.blocks.0.ffn.0.lora_B.weight"
    changed(folder / ADAPTER, lambda state: state.update({name: state[name][:-1]}))

    assert "191, 96) instead of (192, 96)" in refusal(folder)


def test_a_tensor_under_two_names_is_refused(folder: Path) -> None:
    name = "base_model.model.blocks.0.ffn.0.lora_B.weight"
    twin = {f"base_model.model._orig_mod.{inside(name)}": torch.zeros(1)}
    changed(folder / ADAPTER, lambda state: state.update(twin))

    assert "are one tensor" in refusal(folder)


def test_scales_in_the_file_must_be_those_of_the_config(folder: Path) -> None:
    def add_scales(state: dict[str, Tensor], alpha: float) -> None:
        ends = [name for name in state if name.endswith("lora_A.weight")]
        state |= {name.replace("lora_A.weight", "alpha"): torch.tensor(alpha) for name in ends}

    changed(folder / ADAPTER, lambda state: add_scales(state, 6))
    assert import_into(folder / "same", folder).exit_code == 0
    changed(folder / ADAPTER, lambda state: add_scales(state, 8.0))
    assert "another scale" in refusal(folder)


def test_single_numbers_of_numpy_are_read(folder: Path, wanted: dict[str, Tensor]) -> None:
    path = folder / "trained" / "mask_vae_lora.pt"
    content = torch.load(path, weights_only=True)
    content["config"]["lora_alpha"] = np.float64(content["config"]["lora_alpha"])
    content["config"]["lora_rank"] = np.int64(content["config"]["lora_rank"])
    torch.save(content, path)

    assert import_into(folder / "out", folder).exit_code == 0


def test_files_of_the_old_form_of_torch_are_read(folder: Path) -> None:
    for path in (folder / "wan/Wan2.1_VAE.pth", folder / "trained/mask_vae_lora.pt"):
        content = torch.load(path, weights_only=True)
        torch.save(content, path, _use_new_zipfile_serialization=False)

    assert import_into(folder / "out", folder).exit_code == 0


@pytest.mark.parametrize("path", ["wan/Wan2.1_VAE.pth", "trained/mask_vae_lora.pt", ADAPTER])
@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"", "it is empty"),
        (b"version https://git-lfs.github.com/spec/v1\noid sha256:0\n", "pointer of Git LFS"),
        (b"<!DOCTYPE html><html>sign in</html>", "a web page"),
        (b"GGUF\3\0\0\0", "GGUF"),
        (b"\x80\x02}q\0.", "cannot be read"),
        (b"PK\3\4 and no more", "cannot be read"),
    ],
)
def test_what_is_no_checkpoint_is_named(path: str, content: bytes, said: str, folder: Path) -> None:
    (folder / path).write_bytes(content)

    sentence = refusal(folder)

    assert said in sentence
    assert "weights_only" not in sentence


def test_text_with_a_byte_order_mark_is_read(folder: Path) -> None:
    path = folder / "trained" / "adapter_config.json"
    path.write_text(path.read_text(), encoding="utf-8-sig")

    assert import_into(folder / "out", folder).exit_code == 0


def test_a_key_that_is_given_twice_is_refused(folder: Path) -> None:
    path = folder / "trained" / "adapter_config.json"
    path.write_text(path.read_text().replace("{", '{"r": 8, ', 1))

    assert "the key 'r' is given twice" in refusal(folder)


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ('{"r": 3}'.encode("utf-16"), "it is not UTF-8"),
        (b'{"r": 3', "no JSON in line 1"),
        (b'{"r": ' + b"9" * 5000 + b"}", "too many digits"),
        (b'{"r": ' + b"[" * 100_000 + b"}", "nested too deeply"),
    ],
)
def test_a_config_that_is_no_json_is_refused_in_our_words(
    content: bytes, said: str, folder: Path
) -> None:
    (folder / "trained" / "adapter_config.json").write_bytes(content)

    assert said in refusal(folder)
