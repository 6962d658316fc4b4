import shutil
from pathlib import Path

import pytest

from support.released_files import (
    make_peft_model,
    write_diffusers_wan_folder,
    write_training_output,
    write_wan_folder,
)


@pytest.fixture(scope="session")
def originals(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The files of a release, to be read only."""
    folder = tmp_path_factory.mktemp("released")
    write_wan_folder(folder / "wan")
    write_diffusers_wan_folder(folder / "wan_diffusers")
    write_training_output(folder / "trained", make_peft_model())
    return folder


@pytest.fixture
def folder(originals: Path, tmp_path: Path) -> Path:
    """A copy that a test may change or damage."""
    return Path(shutil.copytree(originals, tmp_path / "files"))
