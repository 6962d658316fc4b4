from pathlib import Path

import pytest
import torch

from layert2v_model.cost.offload import enable_group_offload, enable_layerwise_casting, place
from layert2v_model.cost.plan import Offload
from layert2v_model.pipeline import LayerT2VPipeline
from layert2v_model.shot import ShotPrompts
from layert2v_model.stack import Stack
from support.toy_inputs import toy_inputs
from support.toy_model import make_toy_pipeline, make_toy_transformer


def _velocity(transformer) -> torch.Tensor:
    with torch.inference_mode():
        return transformer(*toy_inputs(4), return_dict=False)[0]


def test_eight_bit_weights_give_nearly_the_same() -> None:
    transformer = make_toy_transformer().eval()
    wanted = _velocity(transformer)

    enable_layerwise_casting(transformer)

    change = (_velocity(transformer) - wanted).norm() / wanted.norm()
    assert 0 < change < 0.03
    assert transformer.blocks[0].attn1.to_q.weight.dtype == torch.float8_e4m3fn


def test_eight_bit_weights_spare_what_is_sensitive() -> None:
    transformer = make_toy_transformer().eval()

    enable_layerwise_casting(transformer)

    kept = [
        transformer.layer_adaln.layer_modulation,
        transformer.blocks[0].scale_shift_table,
        transformer.blocks[0].attn1.norm_q.weight,
        transformer.condition_embedder.time_proj.weight,
        transformer.patch_embedding.weight,
    ]
    assert all(parameter.dtype == torch.float32 for parameter in kept)
    assert transformer.dtype == torch.float32


@pytest.mark.parametrize("num_blocks", [1, 2])
def test_offloaded_blocks_give_the_same(num_blocks: int) -> None:
    transformer = make_toy_transformer(num_layers=3).eval()
    wanted = _velocity(transformer)

    enable_group_offload(transformer, torch.device("cpu"), num_blocks)

    assert torch.equal(_velocity(transformer), wanted)


@pytest.mark.parametrize("offload", ["none", "group"])
def test_a_model_makes_the_same_take_wherever_its_weights_wait(
    tmp_path: Path, offload: Offload
) -> None:
    wanted = _take(make_toy_pipeline(tmp_path))
    pipeline = make_toy_pipeline(tmp_path)

    place(pipeline, torch.device("cpu"), offload)

    assert torch.equal(_take(pipeline).full_TCHW, wanted.full_TCHW)


def _take(pipeline: LayerT2VPipeline) -> Stack:
    return pipeline(
        ShotPrompts("", "a beach", ("a fox",)), width=32, height=32, num_frames=5,
        num_inference_steps=1, guidance_scale=2.0,
        stream_seeds={"full": 1, "background": 2, "foreground_1": 3},
    )  # fmt: skip
