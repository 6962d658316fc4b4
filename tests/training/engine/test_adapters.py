from pathlib import Path

import numpy as np
import pytest

from layert2v_training.engine.sam2 import Sam2Matter


@pytest.fixture
def sam2_folder(tmp_path: Path) -> Path:
    """SAM 2 of a few thousand random parameters, saved as transformers saves it."""
    import torch
    from transformers import (
        Sam2ImageProcessorFast,
        Sam2VideoConfig,
        Sam2VideoModel,
        Sam2VideoProcessor,
        Sam2VideoVideoProcessor,
    )

    torch.manual_seed(0)
    vision = {
        "backbone_config": {
            "model_type": "sam2_hiera_det_model",
            "hidden_size": 8, "num_attention_heads": 1, "image_size": [64, 64],
            "blocks_per_stage": [1, 1, 1, 1], "embed_dim_per_stage": [8, 16, 32, 64],
            "num_attention_heads_per_stage": [1, 1, 1, 1], "global_attention_blocks": [],
            "window_size_per_stage": [4, 4, 4, 4],
            "window_positional_embedding_background_size": [4, 4],
        },
        "backbone_channel_list": [64, 32, 16, 8],
        "backbone_feature_sizes": [[16, 16], [8, 8], [4, 4]],
    }  # fmt: skip
    config = Sam2VideoConfig(
        vision_config=vision, prompt_encoder_config={"image_size": 64}, image_size=64
    )
    Sam2VideoModel(config).save_pretrained(tmp_path)
    size = {"height": 64, "width": 64}
    Sam2VideoProcessor(
        Sam2ImageProcessorFast(size=size), Sam2VideoVideoProcessor(size=size)
    ).save_pretrained(tmp_path)
    return tmp_path


@pytest.mark.slow
def test_sam2_follows_a_box_and_gives_a_hard_matte_per_frame(sam2_folder: Path) -> None:
    frames = np.zeros((3, 48, 64, 3), np.uint8)
    frames[:, 10:30, 20:40] = 200

    alpha = Sam2Matter(sam2_folder).mattes(frames, [None, (20, 10, 40, 30), (20, 10, 40, 30)])

    assert alpha.shape == (3, 48, 64)
    assert alpha[0].max() == 0
    assert set(np.unique(alpha)) <= {0.0, 1.0}
