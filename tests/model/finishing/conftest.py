from pathlib import Path

import pytest

from support.finishing import SIZE
from support.layer_folders import write_stack
from support.layered_scenes import faded, make_scene


@pytest.fixture
def shot(tmp_path: Path) -> Path:
    return write_stack(tmp_path / "shot", faded(make_scene(1, 2, *SIZE)))
