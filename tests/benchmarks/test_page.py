import json
from pathlib import Path

import pytest
from torch import nn

from benchmarks.machine import Machine, precision_of
from benchmarks.page import (
    BEGIN,
    END,
    Measured,
    UnmarkedPage,
    read_measured,
    tables,
    update_page,
    write_measured,
)
from benchmarks.pairs import Pairs
from benchmarks.rows import Row

DESK = Machine("Desk CPU", 4, 2, "2.13.0+cpu", "2026-11-30")
SERVER = Machine("Server CPU", 64, 1, "2.13.0+cpu", "2026-11-30")


def _row(name: str, ours: float = 1.0) -> Row:
    pairs = Pairs((ours, 2 * ours), (2.0, 2.0))
    return Row.paired(name, "case", "step, s", "bfloat16", pairs, 0.8)


def _page(folder: Path) -> Path:
    page = folder / "benchmarks.md"
    page.write_text(f"# Above\n\n{BEGIN}\nold\n{END}\n\nBelow.\n")
    return page


def test_absolute_times_are_marked_with_processor_cores_threads_and_precision() -> None:
    text = tables({"growth": Measured(DESK, (_row("growth"),))})

    assert "| ours (Desk CPU, 4 cores, 2 threads) | baseline (Desk CPU, 4 cores" in text
    assert "| step, s | bfloat16 | 1.5 | 2 |" in text


def test_a_card_marks_what_it_computed() -> None:
    assert Machine.here(card="NVIDIA H200").name == "NVIDIA H200"
    assert Machine.here().cores >= 1


def test_the_precision_is_that_of_most_weights() -> None:
    network = nn.Sequential(nn.Linear(8, 8), nn.Linear(8, 8), nn.LayerNorm(64)).bfloat16()
    network[2].float()

    assert precision_of(network) == "bfloat16"


def test_each_machine_has_a_table_of_its_own() -> None:
    text = tables(
        {"a": Measured(DESK, (_row("a"),)), "b": Measured(SERVER, (_row("b"),)),
         "c": Measured(DESK, (_row("c"),))}
    )  # fmt: skip

    assert text.count("| benchmark |") == 2
    assert text.index("| a |") < text.index("| c |") < text.index("64 cores, 1 thread")


def test_what_is_written_is_read_again(tmp_path: Path) -> None:
    measured = {"growth": Measured(DESK, (_row("growth"), Row("g", "c", "MiB", "float32", 1, 2)))}

    write_measured(tmp_path / "benchmarks.json", measured)

    assert read_measured(tmp_path / "benchmarks.json") == measured


def test_the_json_copy_has_machine_ratio_and_spread(tmp_path: Path) -> None:
    write_measured(tmp_path / "b.json", {"growth": Measured(DESK, (_row("growth"),))})

    found = json.loads((tmp_path / "b.json").read_text())["benchmarks"]["growth"]
    assert found["machine"]["processor"] == "Desk CPU"
    assert found["rows"][0]["precision"] == "bfloat16"
    assert found["rows"][0]["ratio"] == 0.75
    assert found["rows"][0]["spread"] == [0.5, 1.0]


def test_a_page_keeps_its_words_and_the_benchmarks_that_were_not_run(tmp_path: Path) -> None:
    page = _page(tmp_path)
    update_page(page, {"a": Measured(DESK, (_row("a"),)), "b": Measured(DESK, (_row("b"),))})

    update_page(page, {"b": Measured(DESK, (_row("b", ours=3.0),))})

    text = page.read_text()
    assert text.startswith("# Above\n")
    assert text.endswith("\nBelow.\n")
    assert "old" not in text
    assert "| a | case | step, s | bfloat16 | 1.5 |" in text
    assert "| b | case | step, s | bfloat16 | 4.5 |" in text
    assert read_measured(tmp_path / "benchmarks.json").keys() == {"a", "b"}


def test_a_page_without_a_place_for_tables_is_refused_and_untouched(tmp_path: Path) -> None:
    page = tmp_path / "benchmarks.md"
    page.write_text("# Words\n")

    with pytest.raises(UnmarkedPage, match="put them around its tables"):
        update_page(page, {"a": Measured(DESK, (_row("a"),))})

    assert page.read_text() == "# Words\n"
    assert not (tmp_path / "benchmarks.json").exists()
