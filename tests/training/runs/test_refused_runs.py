import resource
from pathlib import Path

import pytest
import torch
from safetensors import SafetensorError
from typer.testing import CliRunner

from layert2v_model.files.durable import replacing_folder
from layert2v_training.cli import app
from layert2v_training.refusals import is_full_disk
from layert2v_training.runs import programs
from layert2v_training.runs.run import Run
from support.toy_model import make_toy_transformer


def test_a_stage_without_its_predecessor_says_what_to_run(tmp_path: Path) -> None:
    result = CliRunner().invoke(app, ["alpha-vae", "--out", str(tmp_path)])

    assert result.exit_code == 2
    assert "layert2v-train vae" in result.output


def test_a_wan_recipe_asks_for_its_base(tmp_path: Path) -> None:
    for stage in ("alpha-vae", "joint"):
        options = ["--recipe", "wan2.1-14b", "--precision", "bfloat16", "--out", str(tmp_path)]
        result = CliRunner().invoke(app, [stage, *options])

        assert result.exit_code == 2
        assert "begins with Wan2.1; give its folder as --base" in result.output


def test_an_unknown_field_ends_the_command_before_anything_is_made(tmp_path: Path) -> None:
    out = tmp_path / "run"
    result = CliRunner().invoke(app, ["joint", "--out", str(out), "--set", "joint.lop.seed=1"])

    assert result.exit_code == 2
    assert "joint.lop is not a field; did you mean loop?" in result.output
    assert not out.exists()


def test_more_foregrounds_than_the_model_takes_are_refused_before_anything_is_made(
    tmp_path: Path,
) -> None:
    out = tmp_path / "run"
    result = CliRunner().invoke(
        app, ["multi-foreground", "--out", str(out), "--set", "transformer.max_foregrounds=2"]
    )

    assert result.exit_code == 2
    assert "joint_scene.foregrounds reach 3 and transformer.max_foregrounds is 2" in result.output
    assert "set joint_scene.foregrounds=[1, 1, 2, 2]" in result.output
    assert not out.exists()


def test_a_model_of_another_size_to_go_on_from_is_refused_before_anything_is_copied(
    tmp_path: Path,
) -> None:
    model = make_toy_transformer(num_layers=2)
    model.save_pretrained(tmp_path / "model" / "transformer")
    out = tmp_path / "run"

    for flags in ((), ("--dry-run",)):
        result = CliRunner().invoke(
            app, ["joint", "--out", str(out), "--init", str(tmp_path / "model"), *flags]
        )

        assert result.exit_code == 2
        assert "transformer.num_attention_heads is 3 and --init" in result.output
        assert not out.exists()


def test_a_folder_to_go_on_from_that_is_no_model_is_refused(tmp_path: Path) -> None:
    result = CliRunner().invoke(
        app, ["joint", "--out", str(tmp_path / "run"), "--init", str(tmp_path)]
    )

    assert result.exit_code == 2
    assert "give a model folder as --init" in result.output


def test_a_full_disk_is_said_in_one_sentence(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(run: Run) -> None:
        with (tmp_path / "shard").open("wb") as file:
            torch.save(torch.zeros(10**6), file)

    monkeypatch.setattr(programs, "run_vae", full)
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, limits[1]))
    try:
        result = CliRunner().invoke(app, ["vae", "--out", str(tmp_path / "run")])
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)

    assert result.exit_code == 2, result.exception
    assert "the disk is full" in result.output
    assert "make room" in result.output


def test_other_failures_are_not_called_a_full_disk() -> None:
    assert not is_full_disk(RuntimeError("mat1 and mat2 shapes cannot be multiplied"))
    assert is_full_disk(SafetensorError("I/O error: No space left on device (os error 28)"))


@pytest.mark.parametrize("command", [("joint",), ("joint", "--dry-run"), ("latents", "joint")])
def test_composed_clips_beside_none_of_the_users_own_are_refused(
    tmp_path: Path, assets: Path, command: tuple[str, ...]
) -> None:
    options = ("--assets", str(assets), "--out", str(tmp_path / "run"))

    result = CliRunner().invoke(app, [*command, *options, "--set", "num_composed_clips=9"])

    assert result.exit_code == 2
    assert "num_composed_clips is 9 but --data is missing" in result.output
    assert "set num_clips" in result.output
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(
    ("command", "said"),
    [
        (("joint", "--base", "wan"), "the recipe tiny begins with no base: leave --base out"),
        (
            ("joint", "--recipe", "wan2.1-1.3b", "--base", "wan", "--init", "model"),
            "--base and --init are both given",
        ),
        (("joint", "--skip-bad"), "--skip-bad is for clips of your own"),
        (("joint", "--dry-run", "--ignore-fit"), "give only one"),
        (("joint", "--set", "vae_clips=3"), "joint does not read vae_clips, vae would"),
        (("vae", "--set", "name=mine"), "vae does not read name, export would"),
        (
            ("alpha-vae", "--recipe", "wan2.1-1.3b", "--set", "decoders.batch_size=3"),
            "decoders.batch_size is for recipes with a small VAE",
        ),
        (
            ("joint", "--data", "clips", "--set", "num_clips=48"),
            "num_clips is for composed clips, but --data takes your own instead; each of your "
            "clips counts once, or starts_per_clip times; leave out --set num_clips",
        ),
        (
            ("joint", "--data", "clips", "--set", "joint_scene.panorama_yaw=1"),
            "joint_scene.panorama_yaw is for composed clips",
        ),
        (("joint", "--set", "starts_per_clip=2"), "starts_per_clip is for your own clips"),
    ],
)
def test_what_a_command_would_not_use_is_refused_by_name(
    tmp_path: Path, command: tuple[str, ...], said: str
) -> None:
    result = CliRunner().invoke(app, [*command, "--out", str(tmp_path / "run")])

    assert result.exit_code == 2
    assert said in result.output
    assert not (tmp_path / "run").exists()


def test_a_recipe_file_may_hold_what_other_commands_of_the_run_read(tmp_path: Path) -> None:
    shared = tmp_path / "shared.yaml"
    shared.write_text("name: mine\nvae_clips: 3\nmulti_foreground: {loop: {num_steps: 4}}\n")
    unread = tmp_path / "unread.yaml"
    unread.write_text("alpha_vae: {num_clips: 4}\n")
    place = ("--out", str(tmp_path / "run"))

    # A device that is not here is not timed.
    untimed = ("joint", "--dry-run", "--device-memory", "24GiB")

    allowed = CliRunner().invoke(app, [*untimed, *place, "--recipe-file", str(shared)])
    refused = CliRunner().invoke(
        app, ["alpha-vae", *place, "--data", str(tmp_path), "--recipe-file", str(unread)]
    )

    assert allowed.exit_code == 0, allowed.output
    assert refused.exit_code == 2
    assert "alpha_vae.num_clips is for composed clips" in refused.output
    assert "remove it from the --recipe-file" in refused.output


@pytest.mark.parametrize("recipe", ["tiny", "wan2.1-1.3b"])
def test_a_model_of_another_family_to_go_on_from_is_refused(tmp_path: Path, recipe: str) -> None:
    model = tmp_path / "model"
    make_toy_transformer().save_pretrained(model / "transformer")
    if recipe == "tiny":
        (model / "text_encoder").mkdir()

    result = CliRunner().invoke(
        app, ["joint", "--recipe", recipe, "--out", str(tmp_path / "run"), "--init", str(model)]
    )

    theirs = "tiny" if recipe != "tiny" else "wan2.1-1.3b"
    assert result.exit_code == 2
    assert f"choose a recipe of its kind, such as --recipe {theirs}" in result.output
    assert not (tmp_path / "run").exists()


def test_a_message_names_a_path_once(tmp_path: Path) -> None:
    missing = tmp_path / "missing.yaml"
    for options in (("--recipe-file", str(missing)), ("--init", str(missing))):
        result = CliRunner().invoke(app, ["joint", "--out", str(tmp_path / "run"), *options])

        assert result.exit_code == 2
        assert result.output.count(str(missing)) == 1
        assert "(No such file or directory)" in result.output


@pytest.mark.parametrize(
    ("held", "options", "said"),
    [
        ("layert2v.json", (), "holds a model; name another folder, or add --overwrite"),
        ("notes.txt", ("--overwrite",), "holds notes.txt and no model; name another folder"),
    ],
)
def test_an_export_does_not_replace_what_a_folder_holds(
    tmp_path: Path, held: str, options: tuple[str, ...], said: str
) -> None:
    folder = tmp_path / "model"
    folder.mkdir()
    (folder / held).write_text("{}")

    result = CliRunner().invoke(
        app, ["export", str(folder), "--out", str(tmp_path / "run"), *options]
    )

    assert result.exit_code == 2
    assert f"{folder} {said}" in result.output
    assert (folder / held).read_text() == "{}"


def test_a_model_is_replaced_whole_or_stays(tmp_path: Path) -> None:
    folder = tmp_path / "model"
    folder.mkdir()
    (folder / "old").touch()

    with pytest.raises(FileNotFoundError), replacing_folder(folder) as draft:
        (draft / "missing" / "new").touch()
    assert [path.name for path in folder.iterdir()] == ["old"]

    with replacing_folder(folder) as draft:
        (draft / "new").touch()
    assert [path.name for path in folder.iterdir()] == ["new"]
    assert list(tmp_path.iterdir()) == [folder]
