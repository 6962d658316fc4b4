import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from typer.testing import CliRunner

from layert2v_training.data_cli import app
from layert2v_training.engine import build
from layert2v_training.engine.build import BuildResult
from support import toy_clips


def test_check_names_bad_clips_and_fails_unless_told_to_skip_them(tmp_path: Path) -> None:
    toy_clips.write_renders(tmp_path / "good")
    (tmp_path / "hollow").mkdir()

    strict = CliRunner().invoke(app, ["check", str(tmp_path)])
    lenient = CliRunner().invoke(app, ["check", str(tmp_path), "--skip-bad"])

    assert strict.exit_code == 2
    assert "hollow: is empty" in strict.output
    assert lenient.exit_code == 0
    assert "1 good, 1 bad" in lenient.output
    assert "do not say their frame rate. Training uses them frame by frame" in lenient.output


def test_check_does_not_skip_mixed_rates(tmp_path: Path) -> None:
    toy_clips.write_vidlayer(tmp_path / "a", fps=24)
    toy_clips.write_vidlayer(tmp_path / "b", fps=30)

    mixed = CliRunner().invoke(app, ["check", str(tmp_path), "--skip-bad"])
    chosen = CliRunner().invoke(app, ["check", str(tmp_path), "--fps", "8"])

    assert mixed.exit_code == 2
    assert "mixed frame rates: 24 (a), 30 (b)" in mixed.output
    assert chosen.exit_code == 0


def test_check_fails_where_no_clip_is_good_even_when_skipping(tmp_path: Path) -> None:
    result = CliRunner().invoke(app, ["check", str(tmp_path), "--skip-bad"])

    assert result.exit_code == 2
    assert "holds no clip" in result.output


def test_check_refuses_a_rate_that_is_none(tmp_path: Path) -> None:
    result = CliRunner().invoke(app, ["check", str(tmp_path), "--fps", "0"])

    assert result.exit_code == 2
    assert "not positive" in result.output


@pytest.mark.parametrize(
    ("size", "said"),
    [
        (
            ("97", "63", "8"),
            "width 97 is not a multiple of 16, use 96; height 63 is not a multiple of 16, use 64",
        ),
        (
            ("96", "63", "9"),
            "no recipe takes this --format: height 63 is not a multiple of 16, use 64",
        ),
        (("96", "64", "0"), "0 frames are too few"),
    ],
)
def test_check_refuses_a_format_that_no_recipe_takes(
    tmp_path: Path, size: tuple[str, ...], said: str
) -> None:
    toy_clips.write_renders(tmp_path / "good")

    result = CliRunner().invoke(app, ["check", str(tmp_path), "--format", *size])

    assert result.exit_code == 2
    assert said in words_of(result.output)


def test_check_says_which_recipes_a_length_suits(tmp_path: Path) -> None:
    toy_clips.write_renders(tmp_path / "good")

    result = CliRunner().invoke(app, ["check", str(tmp_path), "--format", "32", "16", "6"])

    assert result.exit_code == 0
    assert "Wan2.1 takes 4 k + 1, such as 5" in result.output


def test_a_bad_clip_is_named_once(tmp_path: Path) -> None:
    (toy_clips.write_vidlayer(tmp_path / "a") / "mask.mp4").write_bytes(b"")
    (tmp_path / "hollow").mkdir()

    result = CliRunner().invoke(app, ["check", str(tmp_path)])

    bad = [line for line in result.output.splitlines() if line.startswith("bad ")]
    assert [line.count(str(tmp_path)) for line in bad] == [1, 1]


def test_build_refuses_weights_of_an_adapter_that_is_not_chosen(tmp_path: Path) -> None:
    arguments = ["build", str(tmp_path), "--out", str(tmp_path / "out")]

    result = CliRunner().invoke(app, [*arguments, "--weights", f"sam2={tmp_path}"])

    assert result.exit_code == 2
    assert "choose it by --mattes sam2, or leave it out" in words_of(result.output)


def test_preview_draws_a_strip_of_each_good_clip(tmp_path: Path) -> None:
    toy_clips.write_vidlayer(tmp_path / "clips" / "a")
    toy_clips.write_renders(tmp_path / "clips" / "b")
    (tmp_path / "clips" / "hollow").mkdir()
    lines = "".join(json.dumps({"clip": name}) + "\n" for name in ("a", "b"))
    (tmp_path / "clips" / "list.jsonl").write_text(lines)
    strips = tmp_path / "strips"
    options = ("--format", "32", "16", "5", "--skip-bad", "--preview", str(strips))

    folder = CliRunner().invoke(app, ["check", str(tmp_path / "clips"), *options])
    names = sorted(path.name for path in strips.iterdir())

    assert folder.exit_code == 0
    assert "hollow: is empty" in folder.output
    assert names == ["0001-a.png", "0002-b.png"]
    assert f"2 pictures in {strips}" in folder.output
    with Image.open(strips / names[0]) as picture:
        pixels = np.asarray(picture)
        assert picture.width == 4 * 192
    # The full video's left edge is blue, the matte's black.
    assert np.allclose(pixels[60, 2], (20, 40, 180), atol=12)
    assert pixels[60, 3 * 192 + 2].max() < 12


def test_preview_names_lines_apart_and_refuses_a_folder_that_is_a_file(tmp_path: Path) -> None:
    toy_clips.write_vidlayer(tmp_path / "a")
    (tmp_path / "list.jsonl").write_text('{"clip": "a"}\n' * 2)
    source = ["check", str(tmp_path / "list.jsonl"), "--preview"]

    done = CliRunner().invoke(app, [*source, str(tmp_path / "strips")])
    refused = CliRunner().invoke(app, [*source, str(tmp_path / "list.jsonl")])

    assert done.exit_code == 0
    assert len(list((tmp_path / "strips").iterdir())) == 2
    assert refused.exit_code == 2
    assert "cannot be written: File exists" in refused.output


def test_a_later_preview_replaces_the_pictures_of_an_earlier_one_and_nothing_else(
    tmp_path: Path,
) -> None:
    toy_clips.write_vidlayer(tmp_path / "clips" / "a")
    toy_clips.write_vidlayer(tmp_path / "clips" / "b")
    strips = tmp_path / "strips"
    command = ["check", str(tmp_path / "clips"), "--preview", str(strips)]
    CliRunner().invoke(app, command)
    Image.new("RGB", (2, 2)).save(strips / "0009-mine.png")
    (strips / "0008-note.png").write_text("no picture")
    (tmp_path / "clips" / "b").rename(tmp_path / "clips" / "c")

    CliRunner().invoke(app, command)

    assert sorted(path.name for path in strips.iterdir()) == [
        "0001-a.png", "0002-c.png", "0008-note.png", "0009-mine.png",
    ]  # fmt: skip


def test_check_says_of_each_clip_whose_frames_are_repeated_or_enlarged(tmp_path: Path) -> None:
    toy_clips.write_vidlayer(tmp_path / "slow", fps=5)
    toy_clips.write_vidlayer(tmp_path / "fast", fps=24)

    small = CliRunner().invoke(app, ["check", str(tmp_path), "--fps", "8", "--skip-bad"])
    large = CliRunner().invoke(
        app, ["check", str(tmp_path), "--format", "48", "32", "2", "--fps", "8"]
    )
    fitting = CliRunner().invoke(
        app, ["check", str(tmp_path), "--format", "32", "16", "1", "--fps", "5"]
    )

    assert f"note {tmp_path / 'slow'}: repeats frames, 5 fps footage gives 8" in small.output
    assert f"note {tmp_path / 'fast'}" not in small.output
    for name in ("slow", "fast"):
        assert f"note {tmp_path / name}: is enlarged, 32x24 footage covers 48x32" in " ".join(
            large.output.split()
        ).replace("; repeats frames, 5 fps footage gives 8", "")
    assert "slow" not in fitting.output
    assert fitting.exit_code == 0


def test_a_folder_that_build_filled_is_checked_by_its_list(tmp_path: Path) -> None:
    toy_clips.write_vidlayer(tmp_path / "out" / "clips" / "a")
    toy_clips.write_vidlayer(tmp_path / "out" / "clips" / "left_out")
    (tmp_path / "out" / "shots").mkdir()
    (tmp_path / "out" / "clips.jsonl").write_text('{"clip": "clips/a"}\n')

    result = CliRunner().invoke(app, ["check", str(tmp_path / "out")])

    assert result.exit_code == 0
    assert "1 good, 0 bad" in result.output


def test_a_folder_of_folders_of_clips_is_told_which_to_name(tmp_path: Path) -> None:
    toy_clips.write_vidlayer(tmp_path / "mine" / "a")
    toy_clips.write_vidlayer(tmp_path / "built" / "clips" / "a")
    (tmp_path / "built" / "clips.jsonl").write_text('{"clip": "clips/a"}\n')

    result = CliRunner().invoke(app, ["check", str(tmp_path)])

    assert result.exit_code == 2
    assert f"{tmp_path / 'mine'}: is not a clip but holds clips, such as a; name" in result.output
    assert f"{tmp_path / 'built'}: is not a clip but holds clips, such as" in result.output


def test_a_source_that_is_missing_is_no_bad_clip(tmp_path: Path) -> None:
    result = CliRunner().invoke(app, ["check", str(tmp_path / "nowhere")])

    assert result.exit_code == 2
    assert result.output.strip() == (
        f"{tmp_path / 'nowhere'} is missing; name a folder of clips or a .jsonl file"
    )


def test_a_build_that_accepts_no_clip_fails_with_a_sentence(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    report = tmp_path / "out" / "report.html"
    nothing = BuildResult(0, 2, report, {"flicker": 2})
    monkeypatch.setattr(build, "build_clips", lambda *_, **__: nothing)

    result = CliRunner().invoke(app, ["build", str(tmp_path), "--out", str(tmp_path / "out")])

    assert result.exit_code == 1
    assert f"no clip was accepted; {report} shows each with its reasons" in result.output


def words_of(output: str) -> str:
    """Take a message out of the box that is drawn around it."""
    return " ".join(output.replace("│", " ").split())
