from dataclasses import replace
from pathlib import Path

import pytest
import torch

from layert2v_model.streams import batch_stream_text
from layert2v_training.cache.captions import TokenTable
from layert2v_training.cli import RecipeName
from layert2v_training.learning.checkpoint import CHECKPOINT, CheckpointMismatch
from layert2v_training.runs.recipes import RECIPES
from layert2v_training.runs.stage_network import load_average
from layert2v_training.stages.alpha_vae_training import AlphaModel, AlphaVaeRecipe, matte_sheet
from layert2v_training.stages.joint import JointLoss, pad_text, train_joint
from layert2v_training.stages.lora import LoraRecipe, add_lora
from support.toy_model import make_toy_transformer, make_toy_vae
from support.toy_run import ToyCaptions, toy_clips, toy_recipe, toy_transformer


@pytest.mark.parametrize(("share", "only_empty"), [(1.0, True), (0.0, False)])
def test_dropped_captions_are_empty_in_every_stream(share: float, only_empty: bool) -> None:
    recipe = replace(toy_recipe(1), caption_dropout=share)
    model, read = toy_transformer(), list[torch.Tensor]()
    model.register_forward_pre_hook(lambda _, given: read.append(given[2][given[3]]))

    JointLoss(model, toy_clips(), ToyCaptions(), recipe)(model, 0)

    empty_ND = ToyCaptions()[""]
    is_empty = (read[0][:, None] == empty_ND).all(-1).any(-1)
    assert bool(is_empty.all()) is only_empty
    assert bool(is_empty.any()) is only_empty


def test_a_table_of_captions_gives_their_token_states_and_zeros_for_padding() -> None:
    states = ToyCaptions()
    table = TokenTable(states, ["a fox", "a ball"], torch.device("cpu"))

    text, mask = pad_text(*batch_stream_text([(table.rows["a fox"], table.rows[""])]))

    fox, empty = table[text][0]
    assert torch.equal(fox[mask[0, 0]], states["a fox"])
    assert torch.equal(empty[mask[0, 1]], states[""])
    assert not fox[~mask[0, 0]].any()


def test_stage_one_trains_neither_the_encoder_nor_what_makes_its_targets() -> None:
    model = AlphaModel(make_toy_vae(), AlphaVaeRecipe(toy_recipe(1).loop, rank=2))

    learning = {name for name, p in model.named_parameters() if p.requires_grad}

    assert learning
    assert not any(name.startswith(("vae.encoder", "vae.quant_conv")) for name in learning)
    assert all(n.startswith("project_in.") or "parametrizations" in n for n in learning)


def test_the_exported_average_holds_layer_adaln_as_it_was_trained(tmp_path: Path) -> None:
    recipe = replace(toy_recipe(3), lora=LoraRecipe(rank=2))
    recipe = replace(recipe, loop=replace(recipe.loop, muon_scale=0.0))
    model = toy_transformer()
    add_lora(model, recipe.lora)
    average = train_joint(tmp_path, model, toy_clips(), ToyCaptions(), recipe, "run").shadow

    fresh = toy_transformer()
    add_lora(fresh, recipe.lora)
    load_average(fresh, tmp_path / "run" / CHECKPOINT)

    for name, parameter in fresh.named_parameters():
        if parameter.requires_grad:
            assert torch.equal(parameter, average[name])
    first = toy_transformer().layer_adaln.layer_modulation
    assert not torch.equal(fresh.layer_adaln.layer_modulation, first)


def test_an_average_of_another_model_is_refused_by_name(tmp_path: Path) -> None:
    train_joint(tmp_path, toy_transformer(), toy_clips(), ToyCaptions(), toy_recipe(1), "run")

    with pytest.raises(CheckpointMismatch, match=r"blocks\.1\.\S+ differs"):
        load_average(make_toy_transformer(num_layers=2), tmp_path / "run" / CHECKPOINT)


def test_gradient_checkpointing_changes_no_parameter(tmp_path: Path) -> None:
    models = []
    for is_used in (False, True):
        recipe = replace(toy_recipe(2), gradient_checkpointing=is_used, sheet_every=0)
        model = toy_transformer()
        train_joint(tmp_path, model, toy_clips(), ToyCaptions(), recipe, f"run-{is_used}")
        models.append(model)

    for plain, spare in zip(models[0].parameters(), models[1].parameters(), strict=True):
        torch.testing.assert_close(plain, spare, atol=1e-5, rtol=1e-5)


def test_the_command_line_knows_every_recipe() -> None:
    assert {name.value for name in RecipeName} == set(RECIPES)


def test_a_sheet_of_mattes_shows_each_as_drawn_and_below_it_as_decoded() -> None:
    drawn, decoded = torch.zeros(6, 1, 5, 2, 3), torch.ones(6, 1, 5, 2, 3)

    sheet = matte_sheet(decoded, drawn)

    assert sheet.shape == (3, 4 * 2 * 2, 3 * 3)
    assert torch.equal(sheet[0, :, 0], torch.tensor([0.0, 0, 1, 1]).repeat(4))
