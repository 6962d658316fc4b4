"""The gallery's script on the toy model and a clip of noise."""

from argparse import Namespace
from pathlib import Path

import numpy as np
import pytest
import torch

from gallery import write_gallery
from gallery_decomposition import decompose
from layert2v_model.alpha import flatten
from layert2v_training.data.clips import ClipForeground, LayeredClip
from layert2v_training.evaluation.asked_model import AskedModel
from support.toy_model import make_toy_pipeline

FRAMES, HEIGHT, WIDTH = 9, 32, 32


@pytest.fixture(scope="module")
def asked_model(tmp_path_factory: pytest.TempPathFactory) -> AskedModel:
    pipeline = make_toy_pipeline(tmp_path_factory.mktemp("toy"))
    return AskedModel(pipeline, WIDTH, HEIGHT, FRAMES, num_inference_steps=1, guidance_scale=1.0)


def _clip(seed: int) -> LayeredClip:
    """A square that moves to the right over one picture of noise."""
    rng = np.random.default_rng(seed)
    background = np.repeat(rng.random((1, HEIGHT, WIDTH, 3), np.float32), FRAMES, axis=0)
    rgb = np.zeros_like(background)
    rgb[..., 0] = 1
    alpha = np.zeros((FRAMES, HEIGHT, WIDTH), np.float32)
    for t in range(FRAMES):
        alpha[t, 10:18, 2 * t : 2 * t + 8] = 1
    tensors = [torch.tensor(x) for x in (background, rgb, alpha[..., None])]
    full = flatten(tensors[0], [(tensors[1], tensors[2])]).numpy()
    return LayeredClip(full, background, "a beach", (ClipForeground(rgb, alpha, "a ball"),))


def test_every_use_gets_a_picture_and_its_figures(asked_model: AskedModel, tmp_path: Path) -> None:
    arguments = Namespace(model=Path("toy"), out=tmp_path / "gallery", scenes=3)

    page = write_gallery(asked_model, [_clip(seed) for seed in range(3)], 13, arguments)

    text = page.read_text()
    pictures = sorted(path.name for path in arguments.out.iterdir())
    assert len(pictures) == 11
    assert "with 13 frames instead of 9" in text
    assert all(f"(gallery/{name})" in text for name in pictures)
    assert "soft IoU" in text
    assert text.count("| largest change of a given pixel | 0 |") == 5


def test_a_decomposition_is_scored_beside_its_baselines(asked_model: AskedModel) -> None:
    scores = decompose(asked_model, _clip(1), seed=1).scores

    nothing, median = scores["full as background, empty matte"], scores["median plate, difference"]
    assert nothing["soft_iou"] == 0
    assert nothing["recomposition_before"] > 50
    assert median["soft_iou"] > 0.6
    assert median["plate_under_foreground"] > nothing["plate_under_foreground"]
    assert 0 <= scores["model"]["soft_iou"] <= 1
