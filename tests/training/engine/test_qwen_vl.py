"""The adapter over the library's own classes, tiny and untrained: that it asks and is answered."""

from pathlib import Path

import numpy as np
import pytest
import torch
import transformers
from tokenizers import Tokenizer, models, pre_tokenizers

from layert2v_training.engine.qwen_vl import QwenVlCaptioner

pytest.importorskip("torchvision", reason="the processor of Qwen-VL needs torchvision")

_SPECIAL = [
    *("<|endoftext|>", "<|im_start|>", "<|im_end|>", "<|vision_start|>", "<|vision_end|>"),
    *("<|vision_pad|>", "<|image_pad|>", "<|video_pad|>"),
]
_VOCABULARY = {word: k for k, word in enumerate([*_SPECIAL, "[UNK]", *"abcdefgh", "Describe"])}
_TEMPLATE = (
    "{% for m in messages %}<|im_start|>{{m.role}} {% for c in m.content %}{% if c.type=='image' %}"
    "<|vision_start|><|image_pad|><|vision_end|>{% else %}{{c.text}}{% endif %}{% endfor %}"
    "<|im_end|>{% endfor %}{% if add_generation_prompt %}<|im_start|>assistant {% endif %}"
)


def write_processor(folder: Path) -> None:
    words = Tokenizer(models.WordLevel(_VOCABULARY, unk_token="[UNK]"))
    words.pre_tokenizer = pre_tokenizers.Whitespace()
    tokenizer = transformers.PreTrainedTokenizerFast(
        tokenizer_object=words, unk_token="[UNK]", eos_token="<|im_end|>",
        pad_token="<|endoftext|>", additional_special_tokens=_SPECIAL[1:],
    )  # fmt: skip
    transformers.Qwen2_5_VLProcessor(
        transformers.Qwen2VLImageProcessor(), tokenizer, transformers.Qwen2VLVideoProcessor(),
        chat_template=_TEMPLATE,
    ).save_pretrained(folder)  # fmt: skip


@pytest.fixture(scope="module")
def captioner(tmp_path_factory: pytest.TempPathFactory) -> QwenVlCaptioner:
    folder = tmp_path_factory.mktemp("qwen")
    write_processor(folder)
    rope = {"rope_type": "default", "mrope_section": [4, 6, 6], "rope_theta": 1e4}
    text = {"vocab_size": len(_VOCABULARY), "hidden_size": 64, "intermediate_size": 64,
            "num_hidden_layers": 2, "num_attention_heads": 2, "num_key_value_heads": 2,
            "rope_parameters": rope, "bos_token_id": 0, "eos_token_id": 2,
            "pad_token_id": 0}  # fmt: skip
    vision = {"depth": 2, "hidden_size": 32, "intermediate_size": 32, "num_heads": 2,
              "out_hidden_size": 64, "fullatt_block_indexes": [1], "window_size": 112,
              "patch_size": 14, "spatial_merge_size": 2, "temporal_patch_size": 2}  # fmt: skip
    config = transformers.Qwen2_5_VLConfig(
        text_config=text,
        vision_config=vision,
        image_token_id=_VOCABULARY["<|image_pad|>"],
        video_token_id=_VOCABULARY["<|video_pad|>"],
        vision_start_token_id=_VOCABULARY["<|vision_start|>"],
        vision_end_token_id=_VOCABULARY["<|vision_end|>"],
    )
    torch.manual_seed(0)
    transformers.Qwen2_5_VLForConditionalGeneration(config).save_pretrained(folder)
    return QwenVlCaptioner(folder)


FRAMES = np.random.default_rng(0).integers(0, 256, (6, 72, 128, 3), np.uint8)


@pytest.mark.slow
def test_a_plate_is_captioned_by_what_is_generated_and_not_by_the_question(
    captioner: QwenVlCaptioner,
) -> None:
    said = captioner.background(FRAMES[0])

    assert said == captioner.background(FRAMES[0])
    assert "Describe" not in said


@pytest.mark.slow
def test_a_subject_is_looked_at_in_its_boxes_alone(captioner: QwenVlCaptioner) -> None:
    elsewhere = FRAMES.copy()
    elsewhere[:, 50:] = 0
    boxes = [None, *[(20, 10, 60, 50)] * 5]

    assert captioner.subject(FRAMES, boxes) == captioner.subject(elsewhere, boxes)


@pytest.mark.slow
def test_all_that_it_writes_tells_clips_apart(captioner: QwenVlCaptioner) -> None:
    told = captioner.telling(["a street", "a fox"])

    assert told.text == "a street. a fox"
    assert not told.of_video
