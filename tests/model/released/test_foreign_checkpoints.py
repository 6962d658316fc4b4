"""Checkpoints as other tools write them: read if they mean the same, else refused by name."""

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from click.testing import Result
from safetensors.torch import load_file, save_file
from torch import Tensor
from typer.testing import CliRunner

from layert2v_model.errors import DamagedModel
from layert2v_model.folders.model_folder import read_transformer, read_vae
from layert2v_model.released.cli import app
from layert2v_model.released.names import transformer_names

ADAPTER = "trained/adapter_model.safetensors"
SHARDS = "wan/diffusion_pytorch_model-0000{}-of-00002.safetensors"
WEIGHTS = "transformer/diffusion_pytorch_model.safetensors"


@pytest.fixture(scope="module")
def wanted(originals: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Tensor]:
    """The transformer that the unchanged files become."""
    out = tmp_path_factory.mktemp("models") / "released"
    assert import_into(out, originals).exit_code == 0
    return load_file(out / WEIGHTS)


def import_into(out: Path, folder: Path, *options: str, wan: str = "wan") -> Result:
    arguments = [str(folder / wan), str(folder / "trained"), "--out", str(out), *options]
    return CliRunner().invoke(app, arguments)


def refusal(folder: Path, *options: str, wan: str = "wan") -> str:
    result = import_into(folder / "out", folder, *options, wan=wan)
    assert result.exit_code == 2, result.output
    assert not (folder / "out").exists()
    sentence = result.stderr.strip().splitlines()[-1]
    assert len(sentence) < 600
    return sentence


def renamed(path: Path, rename: Callable[[str], str]) -> None:
    state = {rename(name): value.clone() for name, value in load_file(path).items()}
    save_file(state, path, {"format": "pt"})


def changed(path: Path, change: Callable[[dict[str, Tensor]], object]) -> None:
    state = {name: value.clone() for name, value in load_file(path).items()}
    change(state)
    save_file(state, path, {"format": "pt"})


def edit_json(path: Path, **values: object) -> None:
    content = json.loads(path.read_text()) if path.is_file() else {}
    path.write_text(json.dumps(content | values))


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


# ---------------------------------------------------------------------------------------------
# Other models, other files


@pytest.mark.parametrize("kind", [torch.float8_e4m3fn, torch.float8_e5m2, torch.int8, torch.uint8])
def test_weights_of_eight_bits_are_refused(kind: torch.dtype, folder: Path) -> None:
    def to_eight_bits(state: dict[str, Tensor]) -> None:
        state |= {name: value.to(kind) for name, value in state.items() if value.ndim == 2}

    changed(folder / SHARDS.format(1), to_eight_bits)

    assert "8-bit weights" in refusal(folder)


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("scaled_fp8", "scaled 8-bit weights of ComfyUI"),
        ("blocks.0.ffn.0.scale_weight", "scaled 8-bit weights of ComfyUI"),
        ("blocks.0.ffn.0.weight.absmax", "bitsandbytes"),
        ("blocks.0.ffn.0.qweight", "GPTQ"),
        ("vace_blocks.0.before_proj.weight", "VACE"),
        ("img_emb.proj.0.weight", "image-to-video"),
    ],
)
def test_a_base_of_another_kind_is_named_by_its_tensors(name: str, said: str, folder: Path) -> None:
    changed(folder / SHARDS.format(1), lambda state: state.update({name: torch.zeros(1)}))

    assert said in refusal(folder)


@pytest.mark.parametrize("kind", ["i2v", "flf2v", "ti2v", "vace", "s2v", "animate", "new"])
def test_another_type_of_wan_is_named(kind: str, folder: Path) -> None:
    edit_json(folder / "wan/config.json", model_type=kind)

    assert f"of type {kind}" in refusal(folder)


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("wan/high_noise_model", "two transformers"),
        ("wan/Wan2.2_VAE.pth", "Wan2.2-TI2V-5B"),
        ("wan/wan2.1-t2v-Q4_K_M.gguf", "GGUF"),
        ("wan_diffusers/transformer_2", "two transformers"),
        ("wan_diffusers/transformer/model.gguf", "GGUF"),
    ],
)
def test_a_folder_of_another_model_is_named_by_its_files(
    name: str, said: str, folder: Path
) -> None:
    (folder / name).mkdir()

    assert said in refusal(folder, wan=name.split("/")[0])


@pytest.mark.parametrize(
    ("path", "values", "said"),
    [
        ("transformer/config.json", {"_class_name": "WanVACETransformer3DModel"}, "WanVACE"),
        ("transformer/config.json", {"in_channels": 36}, "reads 36 channels"),
        ("transformer/config.json", {"image_dim": 1280}, "takes pictures"),
        ("transformer/config.json", {"quantization_config": {"bits": 4}}, "rounded weights"),
        ("model_index.json", {"boundary_ratio": 0.875}, "two transformers"),
        ("model_index.json", {"expand_timesteps": True}, "Wan2.2-TI2V-5B"),
        ("vae/config.json", {"is_residual": True}, "Wan2.2-TI2V-5B"),
    ],
)
def test_a_diffusers_folder_of_another_model_is_named_by_its_configs(
    path: str, values: dict[str, object], said: str, folder: Path
) -> None:
    edit_json(folder / "wan_diffusers" / path, **values)

    assert said in refusal(folder, wan="wan_diffusers")


@pytest.mark.parametrize("init", ["pissa", "pissa_niter_16", "olora", "corda", "loftq", "lora_ga"])
def test_an_initialisation_that_changes_the_base_is_refused(init: str, folder: Path) -> None:
    edit_json(folder / "trained/adapter_config.json", init_lora_weights=init)

    assert f"init_lora_weights to '{init}'" in refusal(folder)


@pytest.mark.parametrize("init", [True, False, None, "gaussian", "eva", "orthogonal"])
def test_an_initialisation_that_leaves_the_base_alone_is_read(init: object, folder: Path) -> None:
    edit_json(folder / "trained/adapter_config.json", init_lora_weights=init)

    assert import_into(folder / "out", folder).exit_code == 0


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("use_qalora", True),
        ("alora_invocation_tokens", [1]),
        ("kasa_config", {"beta": 1e-4}),
        ("arrow_config", {"top_k": 2}),
        ("megatron_config", {"x": 1}),
        ("a_field_of_tomorrow", "on"),
        ("layers_to_transform", [0, 1]),
        ("alpha_pattern", {"ffn.0": 8}),
    ],
)
def test_a_field_that_may_change_the_adapters_meaning_is_refused(
    field: str, value: object, folder: Path
) -> None:
    edit_json(folder / "trained/adapter_config.json", **{field: value})

    assert f"sets {field} to" in refusal(folder)


@pytest.mark.parametrize(
    ("field", "value"),
    [
        *(("lora_alpha", value) for value in (float("nan"), float("inf"), -6, True)),
        ("r", True),
        ("target_modules", "(q|"),
    ],
)
def test_a_scale_or_a_pattern_that_is_none_is_refused_by_name(
    field: str, value: object, folder: Path
) -> None:
    edit_json(folder / "trained/adapter_config.json", **{field: value})

    assert f"adapter_config.json has no usable {field}" in refusal(folder)


@pytest.mark.parametrize(
    ("field", "value"), [("lora_alpha", float("nan")), ("lora_alpha", -1.0), ("lora_rank", 0)]
)
def test_a_setting_of_the_mask_vae_that_is_no_number_is_refused(
    field: str, value: float, folder: Path
) -> None:
    path = folder / "trained/mask_vae_lora.pt"
    content = torch.load(path, weights_only=True)
    content["config"][field] = value
    torch.save(content, path)

    assert f"mask_vae_lora.pt has no usable {field}" in refusal(folder)


@pytest.mark.parametrize(
    ("wan", "config", "values"),
    [
        *(
            ("wan", "config.json", values)
            for values in (
                {"num_heads": 7},
                {"num_layers": 10**9},
                {"eps": "x"},
                {"eps": float("nan")},
                {"patch_size": 2},
                {"patch_size": [1, 0, 2]},
            )
        ),
        *(
            ("wan_diffusers", "transformer/config.json", values)
            for values in (
                {"num_attention_heads": 0},
                {"attention_head_dim": 7},
                {"num_layers": 10**9},
                {"num_layers": True},
                {"eps": "x"},
                {"eps": float("nan")},
                {"patch_size": ["a", 2, 2]},
                {"rope_max_seq_len": -1},
            )
        ),
    ],
)
def test_sizes_that_no_transformer_has_are_refused(
    wan: str, config: str, values: dict[str, object], folder: Path
) -> None:
    edit_json(folder / wan / config, **values)

    assert f"{config} has no usable {next(iter(values))}" in refusal(folder, wan=wan)


@pytest.mark.parametrize(
    ("path", "values", "said"),
    [
        ("text_encoder/config.json", {"d_model": "x"}, "text_encoder/config.json cannot be read"),
        ("vae/config.json", {"latents_mean": [0.0]}, "latents_mean is not 16 finite numbers"),
        ("vae/config.json", {"latents_mean": ["x"] * 16}, "latents_mean is not 16"),
        ("vae/config.json", {"latents_std": [0.0] * 16}, "latents_std is not 16"),
        ("vae/config.json", {"latents_std": [float("nan")] * 16}, "latents_std is not 16"),
    ],
)
def test_settings_that_no_text_encoder_or_vae_has_are_refused(
    path: str, values: dict[str, object], said: str, folder: Path
) -> None:
    edit_json(folder / "wan_diffusers" / path, **values)

    assert said in refusal(folder, wan="wan_diffusers")


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
