from dataclasses import replace
from pathlib import Path

import pytest
import torch

from layert2v_model.streams import batch_stream_text
from layert2v_training.cache.captions import CaptionStates, TokenTable
from layert2v_training.cache.latents import LatentClip
from layert2v_training.cli import RecipeName
from layert2v_training.learning.checkpoint import CHECKPOINT, CheckpointMismatch
from layert2v_training.learning.optimizers import LoopRecipe
from layert2v_training.runs.model_export import text_encoder_folder
from layert2v_training.runs.recipes import RECIPES
from layert2v_training.runs.stage_network import load_average
from layert2v_training.stages.alpha_vae_training import AlphaModel, AlphaVaeRecipe, matte_sheet
from layert2v_training.stages.joint import (
    TINY_TRANSFORMER,
    JointLoss,
    JointRecipe,
    make_transformer,
    pad_text,
    train_joint,
)
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


def test_a_windowed_step_sees_one_frame_of_tokens_of_a_batch_of_its_own_size() -> None:
    model = make_transformer({**TINY_TRANSFORMER, "num_layers": 0, "ffn_dim": 8})
    recipe = JointRecipe(LoopRecipe(num_steps=1, learning_rate=1e-3), 2, windowed_batch_size=6)
    clip = LatentClip(torch.zeros(4, 48, 9, 2, 2), "a beach", ("a fox",))
    shapes: list[torch.Size] = []
    model.register_forward_pre_hook(lambda _, inputs: shapes.append(inputs[0].shape))

    for share in (0.0, 1.0):
        loss = JointLoss(
            model,
            [clip],
            CaptionStates.read(text_encoder_folder()),
            replace(recipe, windowed_share=share),
        )
        loss(model, 0)

    assert shapes == [(2, 4, 48, 9, 2, 2), (6, 4, 48, 1, 2, 2)]


def _batches(batch_size: int, *clips: tuple[int, int, int]) -> set[torch.Size]:
    """Shapes of the batches that twenty steps draw of clips of latents (T, H, W)."""
    model = make_transformer({**TINY_TRANSFORMER, "num_layers": 0, "ffn_dim": 8})
    recipe = JointRecipe(LoopRecipe(num_steps=1, learning_rate=1e-3), batch_size=batch_size)
    latents = [LatentClip(torch.zeros(4, 48, *shape), "a beach", ("a fox",)) for shape in clips]
    shapes: set[torch.Size] = set()
    model.register_forward_pre_hook(lambda _, inputs: shapes.add(inputs[0].shape))
    loss = JointLoss(model, latents, CaptionStates.read(text_encoder_folder()), recipe)
    for step in range(20):
        torch.manual_seed(step)
        loss(model, step)
    return shapes


def test_clips_of_several_sizes_come_in_batches_of_one_size_and_about_as_many_pixels() -> None:
    shapes = _batches(2, (2, 4, 6), (2, 2, 4))

    assert shapes == {(2, 4, 48, 2, 4, 6), (6, 4, 48, 2, 2, 4)}


def test_longer_clips_come_in_smaller_batches_of_as_many_tokens() -> None:
    shapes = _batches(4, (2, 4, 6), (2, 4, 6), (4, 4, 6))

    assert shapes == {(4, 4, 48, 2, 4, 6), (2, 4, 48, 4, 4, 6)}
