"""The adapter over the library's own SAM 2, tiny and untrained: that it asks and is answered."""

from pathlib import Path

import numpy as np
import pytest
import torch
import transformers

from layert2v_training.engine.sam import SamMatter

pytest.importorskip("torchvision", reason="the processor of SAM 2 needs torchvision")

_SIDE = 128
"""Of the network's picture, in pixels; SAM 2 as published takes 1024."""


@pytest.fixture(scope="module")
def matter(tmp_path_factory: pytest.TempPathFactory) -> SamMatter:
    folder: Path = tmp_path_factory.mktemp("sam2")
    backbone = {"hidden_size": 16, "num_attention_heads": 1, "image_size": [_SIDE, _SIDE],
                "blocks_per_stage": [1, 1, 2, 1], "embed_dim_per_stage": [16, 32, 64, 128],
                "num_attention_heads_per_stage": [1, 2, 4, 8],
                "global_attention_blocks": [3], "model_type": "sam2_hiera_det_model",
                "window_positional_embedding_background_size": [7, 7]}  # fmt: skip
    side = _SIDE // 16
    config = transformers.Sam2VideoConfig(
        vision_config={"backbone_config": backbone, "backbone_channel_list": [128, 64, 32, 16],
                       "backbone_feature_sizes": [[4 * side] * 2, [2 * side] * 2, [side] * 2]},
        prompt_encoder_config={"image_size": _SIDE},
        image_size=_SIDE, memory_attention_rope_feat_sizes=[side, side],
        memory_attention_num_layers=1, memory_attention_feed_forward_hidden_size=64,
    )  # fmt: skip
    size = {"height": _SIDE, "width": _SIDE}
    torch.manual_seed(0)
    transformers.Sam2VideoModel(config).save_pretrained(folder)
    transformers.Sam2VideoProcessor(
        transformers.Sam2ImageProcessor(size=size),
        transformers.Sam2VideoVideoProcessor(size=size),
        target_size=_SIDE,
    ).save_pretrained(folder)
    return SamMatter(folder, "sam2")


FRAMES = np.random.default_rng(0).integers(0, 256, (4, 72, 128, 3), np.uint8)
BOX = (20, 10, 60, 50)


@pytest.mark.slow
def test_a_subject_is_followed_from_its_first_box_at_the_size_of_the_video(
    matter: SamMatter,
) -> None:
    alpha_THW = matter.mattes(FRAMES, [None, BOX, BOX, None])

    assert alpha_THW.shape == (4, 72, 128)
    assert set(np.unique(alpha_THW)) <= {0.0, 1.0}
    assert not alpha_THW[[0, 3]].any()


@pytest.mark.slow
def test_without_a_box_there_is_no_matte(matter: SamMatter) -> None:
    assert not matter.mattes(FRAMES, [None] * 4).any()
