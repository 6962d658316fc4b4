"""What the commands of `layert2v-train` make of a run, from the VAE to an exported model."""

import json
from collections.abc import Callable
from dataclasses import fields, replace
from pathlib import Path
from typing import Any

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
from layert2v_training.cache.latents import encode_clip
from layert2v_training.cli import app
from layert2v_training.codecs.linear_vae import encode_pixels
from layert2v_training.runs import programs
from layert2v_training.runs.overrides import read_overrides
from layert2v_training.runs.recipes import Recipe, debug
from layert2v_training.runs.run import JOINT_RUN, MULTI_FOREGROUND_RUN, Run
from layert2v_training.runs.unread import CHECKED, READS
from layert2v_training.runs.vocabulary import vocabulary_of
from layert2v_training.scenes.composing import SceneSource
from layert2v_training.stages import alpha_vae_training
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
        work = getattr(programs, f"run_{command}")
        patch.setattr(programs, f"run_{command}", under_its_name(command.replace("_", "-"), work))
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
