from pathlib import Path

import pytest

from support.toy_assets import make_toy_assets


@pytest.fixture(scope="session")
def assets(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_toy_assets(tmp_path_factory.mktemp("assets") / "pictures")
