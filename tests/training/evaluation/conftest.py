from pathlib import Path

import pytest

from support.evaluating import LINE, write_prompts
from support.toy_model import make_toy_model_folder


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_toy_model_folder(tmp_path_factory.mktemp("toy") / "model")


@pytest.fixture
def prompts(tmp_path: Path) -> Path:
    return write_prompts(tmp_path, LINE, {**LINE, "foregrounds": ["a fox", "a ball"], "seed": 4})
