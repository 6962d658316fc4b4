"""Checkpoints of other models, and settings that mean something else, are refused by name."""

from pathlib import Path

import pytest
import torch
from torch import Tensor

from support.importing import SHARDS, changed, edit_json, import_into, refusal

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
