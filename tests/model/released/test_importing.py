import json
import resource
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from click.testing import Result
from peft import PeftModel
from safetensors.torch import load_file, save_file
from typer.testing import CliRunner

from layert2v_model.loading import load_pipeline
from layert2v_model.network.transformer import LayerT2VTransformer3DModel
from layert2v_model.pipeline import LayerT2VPipeline, ShotPrompts
from layert2v_model.released.cli import app
from layert2v_model.released.fixtures import read_fixture
from layert2v_model.released.modules import (
    merge_released_lora,
    project_in_from_released,
    transformer_from_released,
    vae_from_released,
)
from support.released_files import (
    DATA,
    averaged_parameters,
    fixture_state,
    make_peft_model,
)

TRANSFORMER_WEIGHTS = "transformer/diffusion_pytorch_model.safetensors"


@pytest.fixture(scope="module")
def imported(originals: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("models") / "released"
    result = _import(originals, out)
    assert result.exit_code == 0, result.stderr
    return out


def _import(folder: Path, out: Path, *options: str, wan: str = "wan") -> Result:
    arguments = [str(folder / wan), str(folder / "trained"), "--out", str(out), *options]
    return CliRunner().invoke(app, arguments)


def _refusal(folder: Path, *options: str, wan: str = "wan") -> str:
    """The one sentence of a refused run, which must leave nothing behind."""
    before = sorted(folder.parent.rglob("*"))
    result = _import(folder, folder.parent / "out", *options, wan=wan)
    assert result.exit_code == 2, result.output
    assert result.stdout == ""
    assert sorted(folder.parent.rglob("*")) == before
    last = result.stderr.strip().splitlines()[-1]
    assert last.startswith("layert2v-import: ")
    return last


def _merged_by_peft(peft_model: PeftModel) -> LayerT2VTransformer3DModel:
    _, values = fixture_state("official_layered_dit", "state_dict.")
    state = peft_model.merge_and_unload().state_dict()
    return transformer_from_released(state, values["config"])


def _largest_difference(folder: Path, wanted: LayerT2VTransformer3DModel) -> float:
    found = load_pipeline(folder).transformer.state_dict()
    assert found.keys() == wanted.state_dict().keys()
    return max((found[k] - v).abs().max().item() for k, v in wanted.state_dict().items())


def test_the_transformer_is_what_peft_merges(imported: Path) -> None:
    assert _largest_difference(imported, _merged_by_peft(make_peft_model())) < 1e-6


def test_the_merged_transformer_runs_as_the_authors_modules_would(imported: Path) -> None:
    fixture = read_fixture(DATA / "official_layered_dit.safetensors")
    latents = fixture["input.latents"].unflatten(2, (4, -1)).transpose(1, 2)
    text = fixture["input.context"][:, None].expand(-1, 4, -1, -1)
    ours, theirs = load_pipeline(imported).transformer, _merged_by_peft(make_peft_model())

    with torch.inference_mode():
        (velocity,) = ours(latents, fixture["input.timestep"], text, return_dict=False)
        (wanted,) = theirs(latents, fixture["input.timestep"], text, return_dict=False)

    assert torch.allclose(velocity, wanted, atol=1e-5)


def test_both_layouts_give_the_same_model(originals: Path, imported: Path, tmp_path: Path) -> None:
    result = _import(originals, tmp_path / "released", wan="wan_diffusers")

    assert result.exit_code == 0, result.stderr
    names = json.loads((imported / "layert2v.json").read_text())["files"]
    assert names == json.loads((tmp_path / "released" / "layert2v.json").read_text())["files"]


@pytest.mark.slow
def test_the_average_is_read_in_the_order_of_parameters(originals: Path, tmp_path: Path) -> None:
    peft_model = make_peft_model()
    average = torch.load(originals / "trained" / "ema" / "ema_model.pt", weights_only=True)
    pairs = zip(averaged_parameters(peft_model), average["shadow_params"], strict=True)
    for parameter, value in pairs:
        parameter.data.copy_(value)

    result = _import(originals, tmp_path / "averaged", "--ema")

    assert result.exit_code == 0, result.stderr
    assert _largest_difference(tmp_path / "averaged", _merged_by_peft(peft_model)) < 1e-6


@pytest.mark.slow
def test_the_average_keeps_layer_identity(originals: Path, tmp_path: Path) -> None:
    average = torch.load(originals / "trained" / "ema" / "ema_model.pt", weights_only=True)

    _import(originals, tmp_path / "averaged", "--ema")

    table = load_file(tmp_path / "averaged" / TRANSFORMER_WEIGHTS)["layer_adaln.layer_modulation"]
    assert table.norm() > 1
    assert torch.equal(table, average["shadow_params"][-1])


def test_an_average_without_the_extra_tensor_is_read_too(folder: Path) -> None:
    path = folder / "trained" / "ema" / "ema_model.pt"
    average = torch.load(path, weights_only=True)
    expected = average["shadow_params"].pop(-1)
    average["shadow_params"][-1] = expected
    torch.save(average, path)

    _import(folder, folder / "out", "--ema")

    table = load_file(folder / "out" / TRANSFORMER_WEIGHTS)["layer_adaln.layer_modulation"]
    assert torch.equal(table, expected)


def test_the_alpha_vae_is_the_merged_decoder(imported: Path) -> None:
    state, values = fixture_state("official_mask_vae", "vae.")
    lora, _ = fixture_state("official_mask_vae", "decoder_lora.")
    project_in, _ = fixture_state("official_mask_vae", "project_in.")
    wanted = vae_from_released(state, values["vae"])
    plain = {name: value.clone() for name, value in wanted.state_dict().items()}
    merge_released_lora(wanted, lora, values["lora"]["rank"], values["lora"]["alpha"])
    projector = project_in_from_released(project_in, values["project_in"])

    pipeline = load_pipeline(imported)

    _assert_equal(pipeline.vae.state_dict(), plain)
    _assert_equal(pipeline.alpha_vae.state_dict(), wanted.state_dict())
    assert pipeline.project_in is not None
    _assert_equal(pipeline.project_in.state_dict(), projector.state_dict())


def _assert_equal(found: dict[str, torch.Tensor], wanted: dict[str, torch.Tensor]) -> None:
    assert found.keys() == wanted.keys()
    assert all(torch.equal(found[name], value) for name, value in wanted.items())


def test_prompts_are_encoded_by_the_folders_own_umt5(originals: Path, imported: Path) -> None:
    pipeline = load_pipeline(imported)
    diffusers_state = load_file(originals / "wan_diffusers" / "text_encoder" / "model.safetensors")

    states_ND = pipeline.encode_prompt("a red fox")

    assert states_ND.shape == (len("a red fox") + 2, 48)  # letters, word marks, end
    assert states_ND.dtype == torch.bfloat16
    ours = pipeline.text_encoder.state_dict()
    assert all(torch.equal(ours[name], value) for name, value in diffusers_state.items())


@pytest.mark.slow
def test_an_imported_model_makes_a_take(imported: Path) -> None:
    pipeline = load_pipeline(imported)

    stack = _take(pipeline)

    assert stack.full_TCHW.shape == (5, 3, 32, 32)
    assert pipeline.clamps_given


def _take(pipeline: LayerT2VPipeline):
    return pipeline(
        ShotPrompts("", "a beach", ("a fox",)),
        width=32,
        height=32,
        num_frames=5,
        num_inference_steps=1,
        guidance_scale=2.0,
        stream_seeds={"full": 1, "background": 1, "foreground_1": 1},
    )


@pytest.mark.slow
def test_an_imported_model_is_an_ordinary_diffusers_folder(imported: Path) -> None:
    pipeline = LayerT2VPipeline.from_pretrained(imported)

    assert torch.equal(_take(pipeline).full_TCHW, _take(load_pipeline(imported)).full_TCHW)


@pytest.mark.slow
def test_the_card_says_what_was_told(originals: Path, tmp_path: Path) -> None:
    options = ["--width", "672", "--height", "384", "--num-frames", "41", "--fps", "16"]

    _import(originals, tmp_path / "mine", *options)

    card = json.loads((tmp_path / "mine" / "layert2v.json").read_text())
    assert card["id"] == "mine"
    assert (card["sizes"], card["num_frames"], card["fps"]) == ([[672, 384]], [41], 16)
    assert (card["default_num_inference_steps"], card["default_guidance_scale"]) == (50, 5)


@pytest.mark.slow
def test_half_precision_spares_what_is_sensitive(originals: Path, tmp_path: Path) -> None:
    _import(originals, tmp_path / "half", "--dtype", "bfloat16")

    weights = load_file(tmp_path / "half" / TRANSFORMER_WEIGHTS)
    assert weights["blocks.0.attn1.to_q.weight"].dtype == torch.bfloat16
    for name in ("layer_adaln.layer_modulation", "blocks.0.scale_shift_table"):
        assert weights[name].dtype == torch.float32


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

    assert f"lacks {name.split('/', 1)[1]}" in _refusal(folder)


def test_all_missing_files_are_named_at_once(folder: Path) -> None:
    for path in (folder / "wan_diffusers" / "text_encoder").iterdir():
        path.unlink()
    (folder / "wan_diffusers" / "vae" / "config.json").unlink()

    sentence = _refusal(folder, wan="wan_diffusers")

    assert "vae/config.json, text_encoder/config.json, text_encoder/model*.safet" in sentence


@pytest.mark.slow
def test_a_missing_average_is_asked_for_only_with_ema(folder: Path) -> None:
    shutil.rmtree(folder / "trained" / "ema")

    assert "lacks ema/ema_model.pt" in _refusal(folder, "--ema")
    assert _import(folder, folder / "out").exit_code == 0


def test_another_mask_mode_is_named(folder: Path) -> None:
    (folder / "trained" / "mask_vae_lora.pt").rename(folder / "trained" / "mask_vae_projects.pt")

    assert "mask_vae_projects.pt of a mask mode that is not" in _refusal(folder)


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

    assert f"{name} cannot be read" in _refusal(folder, "--ema")


def test_a_missing_shard_is_a_list_of_tensors(folder: Path) -> None:
    (folder / "wan" / "diffusion_pytorch_model-00002-of-00002.safetensors").unlink()

    sentence = _refusal(folder)

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

    sentence = _refusal(folder)
    if damage == "unexpected":
        assert "stray.weight" in sentence
    elif damage == "missing":
        assert "issing" in sentence


def test_a_lora_that_leaves_out_a_whole_map_is_refused(folder: Path) -> None:
    def change(state: dict[str, torch.Tensor]) -> None:
        for end in "AB":
            del state[f"base_model.model.blocks.0.cross_attn.k.lora_{end}.weight"]

    _change(folder / "trained" / "adapter_model.safetensors", change)

    assert "2 missing: blocks.0.cross_attn.k.lora_A" in _refusal(folder)


def test_a_decoder_lora_that_leaves_out_a_convolution_is_refused(folder: Path) -> None:
    def change(state: dict[str, torch.Tensor]) -> None:
        for end in ("down", "up"):
            del state[f"model.conv2.lora_{end}.weight"]

    _change(folder / "trained" / "mask_vae_lora.pt", change)

    assert "2 missing: post_quant_conv.lora_down.weight" in _refusal(folder)


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

    assert {"r": "rank"}.get(setting, setting) in _refusal(folder)


def test_a_decoder_lora_of_another_rank_than_its_config_is_refused(folder: Path) -> None:
    path = folder / "trained" / "mask_vae_lora.pt"
    content = torch.load(path, weights_only=True)
    content["config"]["lora_rank"] = 8
    torch.save(content, path)

    assert "is no convolution of rank 8" in _refusal(folder)


def test_sizes_that_are_no_counts_are_refused(folder: Path) -> None:
    path = folder / "wan" / "config.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), "num_heads": "four"}))

    assert "no usable" in _refusal(folder)


@pytest.mark.parametrize("num_extra", [-2, 2])
def test_an_average_of_another_length_is_refused(num_extra: int, folder: Path) -> None:
    path = folder / "trained" / "ema" / "ema_model.pt"
    average = torch.load(path, weights_only=True)
    values = average["shadow_params"]
    average["shadow_params"] = [*values, *values][: len(values) + num_extra]
    torch.save(average, path)

    assert "tensors, the adapter has 53" in _refusal(folder, "--ema")


def test_an_average_in_another_order_is_refused(folder: Path) -> None:
    path = folder / "trained" / "ema" / "ema_model.pt"
    average = torch.load(path, weights_only=True)
    average["shadow_params"].reverse()
    torch.save(average, path)

    assert "where text_embedding.0 has" in _refusal(folder, "--ema")


def test_a_file_that_could_run_code_is_refused(folder: Path) -> None:
    torch.save({"project_in": Path("x")}, folder / "trained" / "mask_vae_lora.pt")

    assert "holds pathlib.PosixPath, which could run code" in _refusal(folder)


def test_an_image_model_is_refused(folder: Path) -> None:
    path = folder / "wan" / "config.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), "model_type": "i2v"}))

    assert "of type i2v" in _refusal(folder)


@pytest.mark.parametrize(
    ("options", "sentence"),
    [(["--width", "330"], "width 330"), (["--num-frames", "10"], "10")],
)
def test_a_format_the_model_cannot_do_is_refused(
    options: list[str], sentence: str, originals: Path, folder: Path
) -> None:
    assert sentence in _refusal(folder, *options)


def test_a_folder_that_exists_is_not_touched(folder: Path) -> None:
    (folder.parent / "out").mkdir()
    (folder.parent / "out" / "mine").write_text("")

    assert "exists already" in _refusal(folder)


@pytest.mark.slow
def test_a_disk_that_fills_up_leaves_nothing(folder: Path) -> None:
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, limits[1]))
    try:
        sentence = _refusal(folder)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)

    assert "cannot be written" in sentence
