from dataclasses import replace
from pathlib import Path

import pytest
import torch

from layert2v_training.cache.captions import CaptionStates
from layert2v_training.cache.latents import LatentClip
from layert2v_training.learning.optimizers import LoopRecipe
from layert2v_training.runs.recipes import debug
from layert2v_training.runs.sheets import NUM_FRAMES, SampleSheet
from layert2v_training.stages.lora import LoraRecipe, add_lora
from support.toy_model import TOY_HEIGHT, TOY_NUM_FRAMES, TOY_WIDTH, make_toy_pipeline


@pytest.mark.parametrize("frozen", ["float32", "bfloat16"])
def test_a_sheet_is_made_in_the_precision_of_the_stage(tmp_path: Path, frozen: str) -> None:
    toy = make_toy_pipeline(tmp_path)
    add_lora(toy.transformer, LoraRecipe(rank=2, alpha=2.0, frozen=frozen))
    scene = replace(
        debug().joint_scene, width=TOY_WIDTH, height=TOY_HEIGHT, num_frames=TOY_NUM_FRAMES
    )
    clip = LatentClip(torch.empty(0), "a beach", ("a fox",))
    loop = LoopRecipe(1, 1e-3, autocast="bfloat16" if frozen == "bfloat16" else None)
    sheet = SampleSheet(
        toy.transformer,
        (toy.vae, toy.alpha_vae),
        CaptionStates(toy.tokenizer, toy.text_encoder),
        clip,
        replace(debug(), joint_scene=scene),
        loop,
    )

    with torch.no_grad():
        picture = sheet(0)["sheet"]

    assert picture.shape == (3, 4 * TOY_HEIGHT, NUM_FRAMES * TOY_WIDTH)
    assert 0 <= picture.min() <= picture.max() <= 1
