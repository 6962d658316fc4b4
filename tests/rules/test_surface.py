"""Public names, commands and settings change only together with the lists of them."""

import difflib

import pytest

from rules import surface


@pytest.mark.parametrize("name", surface.LISTS)
def test_what_others_rely_on_is_as_listed(name: str) -> None:
    listed = (surface.GOLDEN / f"{name}.txt").read_text().splitlines()

    changes = [
        line
        for line in difflib.unified_diff(listed, list(surface.LISTS[name]()), lineterm="", n=0)
        if not line.startswith(("---", "+++", "@@"))
    ]

    advice = "if that is meant, run `python tests/rules/surface.py` and commit the lists"
    assert not changes, "\n".join([*changes, advice])
