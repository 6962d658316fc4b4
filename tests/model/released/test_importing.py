import json
from pathlib import Path

import pytest
import torch
from peft import PeftModel
from safetensors.torch import load_file

from layert2v_model.loading import load_pipeline
from layert2v_model.network.transformer import LayerT2VTransformer3DModel
from layert2v_model.pipeline import LayerT2VPipeline, ShotPrompts
from layert2v_model.released.fixtures import read_fixture
from layert2v_model.released.modules import (
    merge_released_lora,
    project_in_from_released,
    transformer_from_released,
    vae_from_released,
)
from support.importing import import_into
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
    result = import_into(out, originals)
    assert result.exit_code == 0, result.stderr
    return out


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
    result = import_into(tmp_path / "released", originals, wan="wan_diffusers")

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

    result = import_into(tmp_path / "averaged", originals, "--ema")

    assert result.exit_code == 0, result.stderr
    assert _largest_difference(tmp_path / "averaged", _merged_by_peft(peft_model)) < 1e-6


@pytest.mark.slow
def test_the_average_keeps_layer_identity(originals: Path, tmp_path: Path) -> None:
    average = torch.load(originals / "trained" / "ema" / "ema_model.pt", weights_only=True)

    import_into(tmp_path / "averaged", originals, "--ema")

    table = load_file(tmp_path / "averaged" / TRANSFORMER_WEIGHTS)["layer_adaln.layer_modulation"]
    assert table.norm() > 1
    assert torch.equal(table, average["shadow_params"][-1])


def test_an_average_without_the_extra_tensor_is_read_too(folder: Path) -> None:
    path = folder / "trained" / "ema" / "ema_model.pt"
    average = torch.load(path, weights_only=True)
    expected = average["shadow_params"].pop(-1)
    average["shadow_params"][-1] = expected
    torch.save(average, path)

    import_into(folder / "out", folder, "--ema")

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

    import_into(tmp_path / "mine", originals, *options)

    card = json.loads((tmp_path / "mine" / "layert2v.json").read_text())
    assert card["id"] == "mine"
    assert (card["sizes"], card["num_frames"], card["fps"]) == ([[672, 384]], [41], 16)
    assert (card["default_num_inference_steps"], card["default_guidance_scale"]) == (50, 5)


@pytest.mark.slow
def test_half_precision_spares_what_is_sensitive(originals: Path, tmp_path: Path) -> None:
    import_into(tmp_path / "half", originals, "--dtype", "bfloat16")

    weights = load_file(tmp_path / "half" / TRANSFORMER_WEIGHTS)
    assert weights["blocks.0.attn1.to_q.weight"].dtype == torch.bfloat16
    for name in ("layer_adaln.layer_modulation", "blocks.0.scale_shift_table"):
        assert weights[name].dtype == torch.float32
