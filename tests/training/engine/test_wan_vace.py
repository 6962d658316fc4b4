from pathlib import Path

import numpy as np
import pytest
import torch
from diffusers import (
    AutoencoderKLWan,
    UniPCMultistepScheduler,
    WanVACEPipeline,
    WanVACETransformer3DModel,
)
from transformers import AutoTokenizer, UMT5EncoderModel

from layert2v_training.engine.protocols import ToolUnavailable
from layert2v_training.engine.recipe import EngineRecipe, Plates
from layert2v_training.engine.tools import load_painter
from layert2v_training.engine.wan_vace import WanVacePlates
from support.released_files import write_diffusers_wan_folder


@pytest.fixture(scope="module")
def weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A pipeline of the library's own classes with random weights, in its own layout."""
    folder = tmp_path_factory.mktemp("vace")
    wan = write_diffusers_wan_folder(folder / "wan")
    vae = AutoencoderKLWan.from_pretrained(wan / "vae")
    torch.manual_seed(0)
    transformer = WanVACETransformer3DModel(
        num_attention_heads=2,
        attention_head_dim=12,
        in_channels=vae.config.z_dim,
        out_channels=vae.config.z_dim,
        text_dim=48,
        freq_dim=16,
        ffn_dim=32,
        num_layers=2,
        vace_layers=[0],
        vace_in_channels=2 * vae.config.z_dim + 64,
    )
    pipeline = WanVACEPipeline(
        tokenizer=AutoTokenizer.from_pretrained(wan / "tokenizer"),
        text_encoder=UMT5EncoderModel.from_pretrained(wan / "text_encoder"),
        vae=vae,
        scheduler=UniPCMultistepScheduler(prediction_type="flow_prediction", use_flow_sigmas=True),
        transformer=transformer,
    )
    pipeline.save_pretrained(folder / "weights")
    return folder / "weights"


@pytest.fixture
def painter(weights: Path, monkeypatch: pytest.MonkeyPatch) -> WanVacePlates:
    """One step instead of thirty."""
    monkeypatch.setattr("layert2v_training.engine.wan_vace._STEPS", 1)
    return WanVacePlates(weights)


FRAMES = np.random.default_rng(1).integers(0, 255, (6, 40, 60, 3), np.uint8)
COVERED = np.zeros((6, 40, 60), bool)
COVERED[:, 15:20, 20:30] = True


def test_what_is_covered_is_painted_and_the_rest_stays_to_the_bit(painter: WanVacePlates) -> None:
    plates = painter.plates(FRAMES, COVERED, "a street")

    changed = (plates != FRAMES).any(-1)
    assert plates.shape == FRAMES.shape
    assert changed[COVERED].mean() > 0.9
    assert not changed[:, :, 40:].any()
    assert not changed[:, 30:].any()


def test_what_a_subject_shows_has_no_say_in_what_is_painted(painter: WanVacePlates) -> None:
    other = np.where(COVERED[..., None], 255 - FRAMES, FRAMES)

    assert np.array_equal(
        painter.plates(FRAMES, COVERED, "a street")[COVERED],
        painter.plates(other, COVERED, "a street")[COVERED],
    )


def test_weights_are_asked_for(tmp_path: Path) -> None:
    recipe = EngineRecipe(plates=Plates.WAN_VACE, weights=(("wan-vace", str(tmp_path)),))

    with pytest.raises(ToolUnavailable, match="give --weights wan-vace=FOLDER"):
        load_painter(recipe)
    assert load_painter(EngineRecipe()) is None
