import json
from collections.abc import Callable
from dataclasses import fields, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import yaml
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from typer.testing import CliRunner

from layert2v.v1 import job_pb2
from layert2v_backend.models import read_limits
from layert2v_model.folders.model_folder import read_card, read_scheduler, read_transformer
from layert2v_model.loading import load_pipeline
from layert2v_model.pipeline import ShotPrompts
from layert2v_training.cache.captions import CaptionStates
from layert2v_training.cache.latents import LatentClip, encode_clip
from layert2v_training.cli import app
from layert2v_training.codecs.linear_vae import encode_pixels
from layert2v_training.data.sources import FileClips
from layert2v_training.learning.optimizers import LoopRecipe
from layert2v_training.runs import run as stages
from layert2v_training.runs.model_export import model_card, text_encoder_folder
from layert2v_training.runs.overrides import read_overrides
from layert2v_training.runs.recipes import RECIPES, Recipe, debug
from layert2v_training.runs.run import JOINT_RUN, MULTI_FOREGROUND_RUN, STAGE_SEEDS, Run
from layert2v_training.runs.unread import CHECKED, READS
from layert2v_training.runs.vocabulary import vocabulary_of
from layert2v_training.scenes.composing import SceneSource
from layert2v_training.stages import alpha_vae_training
from layert2v_training.stages.joint import (
    TINY_TRANSFORMER,
    JointLoss,
    JointRecipe,
    make_transformer,
)
from support import toy_clips
from support.backend_process import backend_process
from support.released_files import write_wan_folder
from support.toy_model import make_toy_vae
from support.waiting import HANG_S
from support.wire_shots import make_shot


def watch_reads(patch: pytest.MonkeyPatch) -> dict[str, list[str]]:
    """Note which fields of a recipe each command reads, while they run."""
    names = {field.name for field in fields(Recipe)}
    read: dict[str, list[str]] = {}
    running = list[str]()

    def noting(self: Recipe, name: str) -> Any:
        if running and name in names and name not in read[running[-1]]:
            read[running[-1]].append(name)
        return object.__getattribute__(self, name)

    def under_its_name(command: str, work: Callable[..., None]) -> Callable[..., None]:
        def run(made: Run, *given: Any, **options: Any) -> None:
            name = given[0] if command == "joint" else command
            read.setdefault(name, [])
            running.append(name)
            try:
                work(made, *given, **options)
            finally:
                running.pop()

        return run

    patch.setattr(Recipe, "__getattribute__", noting)
    for command in ("vae", "alpha_vae", "joint", "decoders", "export"):
        work = getattr(stages, f"run_{command}")
        patch.setattr(stages, f"run_{command}", under_its_name(command.replace("_", "-"), work))
    return read


@pytest.fixture(scope="module")
def debug_run(assets: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """All stages of the debug recipe, its model as `models/debug`, what each read in a file."""
    run = tmp_path_factory.mktemp("debug")
    with pytest.MonkeyPatch.context() as patch:
        read = watch_reads(patch)
        # Whether each stage fits is simulated in `test_dry_run`.
        places = ("--assets", str(assets), "--out", str(run))
        train("all", "--recipe", "debug", "--ignore-fit", *places)
    (run / "reads.json").write_text(json.dumps(read))
    (run / "models").mkdir()
    (run / "model").rename(run / "models" / "debug")
    return run


def train(*arguments: str) -> str:
    result = CliRunner().invoke(app, arguments)
    assert result.exit_code == 0, (arguments, result.output, result.exception)
    return result.output


@pytest.mark.slow
def test_all_stages_of_the_debug_recipe_make_a_model_that_generates(debug_run: Path) -> None:
    stack = load_pipeline(debug_run / "models" / "debug")(
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


@pytest.mark.slow
def test_each_command_reads_the_fields_that_may_be_set_for_it(debug_run: Path) -> None:
    """`unread.READS` refuses others, so that it must not miss one or name one too many."""
    read = json.loads((debug_run / "reads.json").read_text())
    checked = {name for name in CHECKED if "." not in name}
    # Read where there are clips of one's own, or by no more than a message.
    other = {"fps", "starts_per_clip", "num_composed_clips", "name", "base"}

    assert read.keys() == READS.keys() - {"latents"}
    for command, names in read.items():
        declared = {name.split(".")[0] for name in READS[command]}
        assert set(names) - other - checked <= declared, command
        assert declared - other - checked <= set(names), command


@pytest.mark.slow
def test_the_card_says_what_an_exported_model_learned(debug_run: Path) -> None:
    card = read_card(debug_run / "models" / "debug")

    assert card["description"] == (
        "Small LayerT2V model, trained on composed scenes of emoji over photographs, "
        f"computed in {card['trained_in']}"
    )


@pytest.mark.slow
def test_the_log_shows_what_the_average_makes(debug_run: Path) -> None:
    for run in (JOINT_RUN, MULTI_FOREGROUND_RUN):
        assert EventAccumulator(str(debug_run / run)).Reload().Tags()["images"] == [
            "evaluate/sheet"
        ]


@pytest.mark.slow
def test_a_trained_model_is_served_by_the_backend(debug_run: Path) -> None:
    with backend_process(debug_run) as backend:
        shot = make_shot(1, model="debug", num_inference_steps=1)
        job = backend.client.create(shot)
        request = job_pb2.WatchJobRequest(name=job.name)
        for _ in backend.client.jobs.WatchJob(request, timeout=HANG_S):
            pass
        job = backend.client.get(job.name)

    assert job.state == job_pb2.JOB_STATE_SUCCEEDED, job.error.message


@pytest.mark.slow
def test_adapters_on_a_trained_model_change_it_and_are_merged(
    debug_run: Path, assets: Path, tmp_path: Path
) -> None:
    init = debug_run / "models" / "debug"
    lora = ("--set", "multi_foreground.lora.rank=2", "--set", "multi_foreground.loop.muon_scale=0")
    places = ("--recipe", "debug", "--out", str(tmp_path), "--init", str(init), *lora)

    train("multi-foreground", "--assets", str(assets), *places)
    train("export", str(tmp_path / "model"), *places)

    before, after = (
        read_transformer(folder, torch.float32).state_dict()
        for folder in (init, tmp_path / "model")
    )
    assert before.keys() == after.keys()
    assert not torch.equal(before["proj_out.weight"], after["proj_out.weight"])


def recipe_file(folder: Path, *changes: str) -> tuple[str, str]:
    """Write changes that several commands share; return the option that names the file."""
    path = folder / "recipe.yaml"
    path.write_text(yaml.safe_dump(read_overrides([], changes)))
    return "--recipe-file", str(path)


WAN_SIZES = (
    "scene.width=32", "scene.height=32", "joint_scene.width=32", "joint_scene.height=32",
    "num_clips=2", "joint.batch_size=1", "joint.loop.gradient_accumulation=2",
)  # fmt: skip


@pytest.fixture(scope="module")
def wan_model(assets: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model on a toy folder of Wan's layout, after stages 1 and 2 with adapters."""
    out = tmp_path_factory.mktemp("wan")
    wan = write_wan_folder(out / "wan")
    changes = recipe_file(
        out, *WAN_SIZES, "alpha_vae.num_clips=5", "alpha_vae.rank=2",
        "alpha_vae.hidden_channels=8", "alpha_vae.loop.num_steps=1", "joint.loop.num_steps=2",
        "joint.lora.rank=2", "joint.sheet_every=2", "joint.decoded.composite=0.1",
    )  # fmt: skip
    recipe = ("--recipe", "wan2.1-1.3b", "--out", str(out / "run"), "--base", str(wan), *changes)

    # Whether each fits is simulated in `test_dry_run`.
    for stage in ("alpha-vae", "joint"):
        train(stage, "--assets", str(assets), "--ignore-fit", *recipe)
    train("export", str(out / "model"), "--run", JOINT_RUN, *recipe)
    return out / "model"


@pytest.mark.slow
def test_a_whole_transformer_trained_on_from_a_model_of_a_wan_recipe_is_exported(
    wan_model: Path, assets: Path, tmp_path: Path
) -> None:
    changes = recipe_file(
        tmp_path, *WAN_SIZES, "name=mine", "joint.loop.num_steps=1", "joint.sheet_every=0",
        "joint.lora=null", "joint.decoded.matte=0",
    )  # fmt: skip
    recipe = ("--recipe", "wan2.1-1.3b", "--out", str(tmp_path), "--init", str(wan_model), *changes)

    train("joint", "--assets", str(assets), *recipe)
    train("export", str(tmp_path / "model"), "--run", JOINT_RUN, *recipe)

    before, after = (read_transformer(folder, torch.float32).state_dict()
                     for folder in (wan_model, tmp_path / "model"))  # fmt: skip
    assert before.keys() == after.keys()


@pytest.mark.slow
def test_stages_on_a_wan_folder_make_a_model_that_loads(wan_model: Path) -> None:
    pipeline = load_pipeline(wan_model)

    assert pipeline.transformer.config.prompt_visibility == "released"
    assert pipeline.text_encoder is not None


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


def test_a_run_resamples_footage_to_the_rate_of_its_recipe(tmp_path: Path) -> None:
    frames = np.concatenate([toy_clips.flat((8 * t,) * 3, 1) for t in range(27)])
    rgba = np.concatenate([frames, toy_clips.square_matte(27)[..., None]], -1)
    for name, pixels in (("background", frames), ("spot", rgba)):
        toy_clips.write_movie(tmp_path / f"{name}.mkv", pixels, "ffv1", fps=24)
    (tmp_path / "clip.txt").write_text("background: a\nspot: b\n")
    eight, twelve = (
        Run(replace(debug(), fps=fps), tmp_path, tmp_path, data=tmp_path).clips("joint")
        for fps in (8.0, 12.0)
    )

    steps = [np.diff(s.clip(0).background_THWC[:, 0, 0, 0] * 255) for s in (eight, twelve)]

    np.testing.assert_allclose(steps[0], 24, atol=0.01)
    np.testing.assert_allclose(steps[1], 16, atol=0.01)
    assert eight.key != twelve.key


def test_a_run_composes_a_fifth_as_many_clips_of_each_further_size_and_length(
    assets: Path, tmp_path: Path
) -> None:
    recipe = replace(debug(), num_clips=50, extra_sizes=((64, 48),), extra_num_frames=(3,))
    run = Run(recipe, assets, tmp_path)

    shapes = {
        run.clips("joint", shape).clip(0).full_THWC.shape[:3]: count
        for shape, count in run.clips_per_shape.items()
    }

    assert shapes == {(9, 64, 96): 50, (3, 64, 96): 10, (9, 48, 64): 10, (3, 48, 64): 10}
    assert model_card(recipe)["num_frames"] == [9, 3]


def write_crabs(folder: Path, count: int, num_frames: int = 9) -> Path:
    """Write `count` clips of a square, `num_frames` long at 8 fps; return the folder."""
    frames = toy_clips.flat((10, 20, 200), num_frames)
    rgba = np.concatenate([frames, toy_clips.square_matte(num_frames)[..., None]], -1)
    for number in range(count):
        clip = folder / f"clip_{number}"
        clip.mkdir(parents=True)
        for name, pixels in (("background", frames), ("crab", rgba)):
            toy_clips.write_movie(clip / f"{name}.mkv", pixels, "ffv1", fps=8)
        (clip / "clip.txt").write_text("background: a sea\ncrab: a crab\n")
    return folder


def test_composed_clips_stand_beside_the_users_own(assets: Path, tmp_path: Path) -> None:
    data = write_crabs(tmp_path / "clips", 1)
    recipe = replace(debug(), num_composed_clips=3, extra_num_frames=(5,))
    run = Run(recipe, assets, tmp_path / "run", data=data)

    found = [(type(clips), clips.clip(0).full_THWC.shape, n) for clips, n in run.sources("joint")]

    assert found == [
        (FileClips, (9, 64, 96, 3), 1),
        (FileClips, (5, 64, 96, 3), 1),
        (SceneSource, (9, 64, 96, 3), 3),
    ]


def test_the_users_own_clips_are_counted_once_each_or_once_for_each_start(
    assets: Path, tmp_path: Path
) -> None:
    data = write_crabs(tmp_path / "clips", 6)
    recipe = replace(debug(), num_clips=3000, extra_num_frames=(5,))

    once, thrice = (
        Run(replace(recipe, starts_per_clip=starts), assets, tmp_path, data=data)
        for starts in (1, 3)
    )

    assert [count for _, count in once.sources("joint")] == [6, 2]
    assert [count for _, count in thrice.sources("joint")] == [18, 4]
    assert (once.num_alpha_clips, thrice.num_alpha_clips) == (6, 18)


def test_a_run_is_bound_to_the_number_of_the_users_own_clips(assets: Path, tmp_path: Path) -> None:
    data = write_crabs(tmp_path / "clips", 2)
    run = Run(debug(), assets, tmp_path / "run", data=data)

    run.bind(JOINT_RUN, "joint")
    run.bind("run-alpha-vae", "alpha-vae")

    bound = {
        name: json.loads((tmp_path / "run" / name / "run.json").read_text())["values"]
        for name in (JOINT_RUN, "run-alpha-vae")
    }
    assert bound[JOINT_RUN]["num_clips"] == 2
    assert bound["run-alpha-vae"]["alpha_vae.num_clips"] == 2


def test_stage_3_composes_the_numbers_of_foregrounds_and_the_seed_of_the_recipe(
    tmp_path: Path,
) -> None:
    scene = replace(debug().joint_scene, foregrounds=(2,), seed=100)
    run = Run(replace(debug(), joint_scene=scene), tmp_path, tmp_path)

    assert run.scene("joint").foregrounds == (1,)
    assert run.scene("multi-foreground").foregrounds == (2,)
    assert run.scene("decoders").foregrounds == (2,)
    assert [run.scene(stage).seed for stage in STAGE_SEEDS] == [111, 112, 21, 131, 141]


def test_the_wan_recipes_compare_what_is_composited_and_give_regions() -> None:
    for name, make in RECIPES.items():
        recipe = make()
        is_wan = recipe.base == "wan"
        assert (recipe.alpha_vae.render_weight > 0) == is_wan, name
        assert (recipe.joint.decoded.composite > 0) == is_wan, name
        assert recipe.multi_foreground.noise.given_regions > 0, name


@pytest.mark.slow
def test_the_exported_model_says_the_words_of_its_scenes(debug_run: Path) -> None:
    limits = read_limits(debug_run / "models" / "debug")

    assert limits.vocabulary == vocabulary_of(debug().joint_scene)


@pytest.mark.slow
def test_the_exported_scheduler_shifts_as_training_did(debug_run: Path) -> None:
    scheduler = read_scheduler(debug_run / "models" / "debug")

    assert scheduler.config.shift == debug().joint.noise.shift


def test_stage_1_learns_from_the_latents_that_stage_2_stores(
    assets: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The release encodes in bfloat16 in stage 1 and in float32 in stage 2."""
    source, vae = SceneSource(assets, replace(debug().scene, foregrounds=(1,))), make_toy_vae()
    stored_CTHW = encode_clip(vae, source.clip(0)).latents_SCTHW[3]
    seen = list[torch.Tensor]()

    def watched(*given: Any) -> torch.Tensor:
        seen.append(encode_pixels(*given))
        return seen[-1]

    monkeypatch.setattr(alpha_vae_training, "encode_pixels", watched)
    recipe = debug().alpha_vae
    alpha_vae_training.train_alpha_vae(
        source, tmp_path, vae, replace(recipe, num_clips=2, loop=replace(recipe.loop, num_steps=1))
    )

    torch.testing.assert_close(seen[0][0], stored_CTHW.float(), rtol=1e-3, atol=1e-4)
