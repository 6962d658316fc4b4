from pathlib import Path

from typer.testing import CliRunner

from layert2v_training.data_cli import app
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
    assert "do not say their frame rate: training takes them a frame a frame" in lenient.output


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
