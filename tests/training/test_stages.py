from dataclasses import replace
from pathlib import Path

import pytest
import torch
from typer.testing import CliRunner

from layert2v_model.loading import load_pipeline
from layert2v_model.pipeline import ShotPrompts
from layert2v_training.alpha_vae import alpha_loss
from layert2v_training.captions import CaptionStates
from layert2v_training.cli import app
from layert2v_training.export import text_encoder_folder
from layert2v_training.joint import TINY_TRANSFORMER, JointLoss, JointRecipe, make_transformer
from layert2v_training.latents import LatentClip
from layert2v_training.optimizers import LoopRecipe


@pytest.mark.slow
@pytest.mark.timeout(300)
def test_all_stages_of_the_debug_recipe_make_a_model_that_generates(
    assets: Path, tmp_path: Path
) -> None:
    run, model = tmp_path / "run", tmp_path / "model"
    for command in ("vae", "alpha-vae", "joint", "multi-foreground"):
        arguments = [command, "--recipe", "debug", "--assets", str(assets), "--out", str(run)]
        result = CliRunner().invoke(app, arguments)
        assert result.exit_code == 0, (command, result.output, result.exception)
    result = CliRunner().invoke(app, ["export", str(model), "--recipe", "debug", "--out", str(run)])
    assert result.exit_code == 0, result.output

    stack = load_pipeline(model)(
        ShotPrompts("", "a beach", ("a fox", "a ball")),
        width=96,
        height=64,
        num_frames=9,
        num_inference_steps=1,
        guidance_scale=1.0,
        stream_seeds={"full": 1, "background": 2, "foreground_1": 3, "foreground_2": 4},
    )

    assert len(stack.layers) == 3
    assert torch.isfinite(stack.flatten()).all()

    onward = tmp_path / "onward"
    arguments = ["multi-foreground", "--recipe", "debug", "--assets", str(assets)]
    result = CliRunner().invoke(app, [*arguments, "--out", str(onward), "--init", str(model)])
    assert result.exit_code == 0, (result.output, result.exception)
    assert (onward / "alpha_vae" / "project_in.safetensors").is_file()


def test_a_stage_without_its_predecessor_says_what_to_run(tmp_path: Path) -> None:
    result = CliRunner().invoke(app, ["alpha-vae", "--out", str(tmp_path)])

    assert result.exit_code == 2
    assert "layert2v-train vae" in result.output


def test_the_alpha_loss_weighs_edges_more() -> None:
    target = -torch.ones(1, 1, 1, 8, 8)
    target[..., 4:] = 1
    at_edge, in_flat = target.clone(), target.clone()
    at_edge[..., 3] += 0.5
    in_flat[..., 0] += 0.5

    edge, flat = alpha_loss(at_edge, target), alpha_loss(in_flat, target)

    assert float(edge["reconstruction"]) == pytest.approx(float(flat["reconstruction"]))
    assert float(edge["edge"]) > 1.5 * float(flat["edge"])


def test_a_windowed_step_sees_one_frame_of_tokens_of_a_batch_of_its_own_size() -> None:
    model = make_transformer({**TINY_TRANSFORMER, "num_layers": 0, "ffn_dim": 8})
    recipe = JointRecipe(LoopRecipe(num_steps=1, learning_rate=1e-3), 2, windowed_batch_size=6)
    clip = LatentClip(torch.zeros(4, 24, 9, 2, 2), "a beach", ("a fox",))
    shapes: list[torch.Size] = []
    model.register_forward_pre_hook(lambda _, inputs: shapes.append(inputs[0].shape))

    for share in (0.0, 1.0):
        loss = JointLoss(
            model,
            [clip],
            CaptionStates(text_encoder_folder()),
            replace(recipe, windowed_share=share),
        )
        loss(model, 0)

    assert shapes == [(2, 4, 24, 9, 2, 2), (6, 4, 24, 1, 2, 2)]
