"""The pages that `make docs` makes hold everything in their sources."""

from pathlib import Path

import reference

GOLDEN = Path(__file__).resolve().parents[1] / "rules" / "golden"


def test_every_command_and_option_has_a_place_in_the_reference() -> None:
    page = reference.commands()

    for line in (GOLDEN / "commands.txt").read_text(encoding="utf-8").splitlines():
        words = line.split(": ")[0].split(" [")[0].split()
        assert words[0] in page
        for option in (word for word in words if word.startswith("--")):
            assert f"`{option}`" in page or option in reference.COMPLETION


def test_every_name_of_the_wire_is_described_on_the_page_of_its_file() -> None:
    pages = reference.wire()

    assert set(pages) == {name for name in reference.page_names() if name.startswith("wire_")}
    rows = [line for page in pages.values() for line in page.splitlines() if line[:2] == "| "]
    assert len(rows) > 100
    assert not [row for row in rows if row.split(" | ")[-1].strip(" |") == ""]


def test_text_shows_as_it_is_written() -> None:
    shown = reference._prose("a <folder> of `x_y[2]`, see [env: A_B] and _c")

    assert shown == r"a \<folder\> of `x_y[2]`, see \[env: A_B\] and \_c"
