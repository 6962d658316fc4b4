from pathlib import Path

from layert2v_training.engine.build_report import Outcome, write_report
from layert2v_training.engine.reasons import Reason


def test_reasons_are_counted_by_kind_whatever_numbers_they_hold(tmp_path: Path) -> None:
    moves = [Reason("the camera moves", f"the camera moves {k} pixels") for k in (1, 2)]
    repeats = [Reason("repeats another", f"repeats clip-{k}: cosine .9") for k in range(3)]
    outcomes = [Outcome(f"shot-{k}", (reason,)) for k, reason in enumerate([*moves, *repeats])]

    write_report(tmp_path / "report.html", outcomes)

    page = (tmp_path / "report.html").read_text()
    assert "<table><tr><td>repeats another</td><td>3</td></tr>" in page
    assert page.count("<td>the camera moves</td><td>2</td>") == 1
    assert "the camera moves 1 pixels" in page


def test_pictures_of_clips_with_odd_names_are_found_by_browsers(tmp_path: Path) -> None:
    name = 'take #1 100% "final"'
    (tmp_path / "pictures").mkdir()
    (tmp_path / "pictures" / f"{name}.jpg").write_bytes(b"")

    write_report(tmp_path / "report.html", [Outcome(name)])

    source = 'src="pictures/take%20%231%20100%25%20%22final%22.jpg"'
    assert source in (tmp_path / "report.html").read_text()


def test_a_figure_that_some_clips_lack_is_shown_for_the_others(tmp_path: Path) -> None:
    outcomes = [Outcome("a", figures={"cover": 0.1}),
                Outcome("b", figures={"cover": 0.2, "core_flicker": 3.0})]  # fmt: skip

    write_report(tmp_path / "report.html", outcomes)

    assert "<td>core_flicker</td><td>3</td>" in (tmp_path / "report.html").read_text()
