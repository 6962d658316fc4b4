"""The map of rooms in docs/design.md shows every file and folder of the three big packages."""

import re
from fnmatch import fnmatch
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
PACKAGES = (
    "backend/layert2v_model",
    "training/layert2v_training",
    "backend/layert2v_backend",
)


def shown_of(package: str) -> list[str]:
    """Give the names of files and folders that the map of a package shows."""
    text = (ROOT / "docs" / "design.md").read_text(encoding="utf-8")
    block = text.split(f"\n{package}/\n")[1]
    lines = block.split("\n\n")[0].split("```")[0].splitlines()
    return [name for line in lines for name in re.findall(r"(?<![^\s])[\w*]+(?:\.py|/)", line)]


@pytest.mark.parametrize("package", PACKAGES)
def test_the_map_shows_every_room_and_nothing_else(package: str) -> None:
    folder = ROOT / package
    rooms = {f"{path.parent.name}/" for path in folder.glob("*/__init__.py")}
    files = {path.name for path in folder.glob("*.py") if not path.name.startswith("__")}
    shown = shown_of(package)

    hidden = [name for name in rooms | files if not any(fnmatch(name, it) for it in shown)]
    lost = [it for it in shown if not any(fnmatch(name, it) for name in rooms | files)]

    assert (sorted(hidden), sorted(lost)) == ([], [])
