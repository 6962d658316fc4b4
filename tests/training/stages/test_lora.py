import copy
from pathlib import Path

import pytest
import torch

from layert2v_model.folders.model_folder import read_transformer
from layert2v_model.released.wan_folder import read_wan_folder
from layert2v_training.runs.overrides import InvalidRecipe
from layert2v_training.runs.recipes import WAN_TRANSFORMER
from layert2v_training.runs.wan import wan_text_encoder, wan_transformer
from layert2v_training.stages.lora import LoraRecipe, add_lora, merge_lora
from support.released_files import write_wan_folder
from support.toy_inputs import toy_inputs
from support.toy_model import make_toy_transformer


def adapted(**settings: object) -> torch.nn.Module:
    torch.manual_seed(0)
    model = make_toy_transformer()
    add_lora(model, LoraRecipe(rank=2, alpha=4.0, dropout=0.0, **settings))
    return model


@torch.no_grad()
def test_an_adapter_starts_as_no_change_and_merges_exactly(tmp_path: Path) -> None:
    torch.manual_seed(0)
    plain = make_toy_transformer().eval()
    inputs = toy_inputs(4, 2)
    model = copy.deepcopy(plain)
    add_lora(model, LoraRecipe(rank=2, alpha=4.0))
    model.eval()
    torch.testing.assert_close(model(*inputs)[0], plain(*inputs)[0])

    for name, parameter in model.named_parameters():
        if "lora_B" in name:
            parameter.normal_(std=0.1)
    before = model(*inputs)[0]
    merge_lora(model)
    model.save_pretrained(tmp_path / "transformer")

    after = read_transformer(tmp_path, torch.float32)(*inputs)[0]
    assert not torch.allclose(before, plain(*inputs)[0], atol=1e-3)
    torch.testing.assert_close(after, before, atol=1e-5, rtol=1e-5)


def test_adapters_and_layer_adaln_learn_and_nothing_else() -> None:
    model = adapted()

    learning = [name for name, p in model.named_parameters() if p.requires_grad]

    assert all("lora_" in name or name.startswith("layer_adaln.") for name in learning)
    assert len([name for name in learning if name.startswith("layer_adaln.")]) == 2
    linear = [m for m in make_toy_transformer().modules() if isinstance(m, torch.nn.Linear)]
    assert len([name for name in learning if "lora_A" in name]) == len(linear)


def test_layer_adaln_has_one_copy_which_is_the_one_that_learns() -> None:
    model = adapted()
    inputs = toy_inputs(4, 2)

    model(*inputs)[0].square().mean().backward()

    tables = [name for name, _ in model.named_parameters() if "layer_modulation" in name]
    assert tables == ["layer_adaln.layer_modulation"]
    assert model.layer_adaln.layer_modulation.grad.abs().sum() > 0


def test_frozen_weights_may_be_half_as_large() -> None:
    model = adapted(frozen="bfloat16")

    with torch.autocast("cpu", dtype=torch.bfloat16):
        model(*toy_inputs(4, 2))[0].float().square().mean().backward()

    assert model.blocks[0].attn1.to_q.base_layer.weight.dtype is torch.bfloat16
    assert model.blocks[0].attn1.to_q.lora_A["default"].weight.dtype is torch.float32
    assert model.blocks[0].attn1.to_q.lora_B["default"].weight.grad.abs().sum() > 0


def test_a_run_on_wan_begins_as_wan(tmp_path: Path) -> None:
    base = read_wan_folder(write_wan_folder(tmp_path / "wan"))

    model = wan_transformer(base, WAN_TRANSFORMER)
    tokenizer, encoder = wan_text_encoder(base)

    assert not model.layer_adaln.layer_modulation.any()
    for name, value in base.transformer.items():
        torch.testing.assert_close(model.state_dict()[name], value.float())
    assert model.rope.freqs_cos.device.type == "cpu"
    states = encoder(**tokenizer("a fox", return_tensors="pt")).last_hidden_state
    assert torch.isfinite(states).all()


def test_a_base_of_another_size_is_refused_by_name(tmp_path: Path) -> None:
    base = read_wan_folder(write_wan_folder(tmp_path / "wan"))

    with pytest.raises(InvalidRecipe, match=r"transformer\.num_layers is 99"):
        wan_transformer(base, {**WAN_TRANSFORMER, "num_layers": 99})
