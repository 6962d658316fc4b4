"""A state folder to attack, on a small disk of its own where a full one is needed."""

import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from layert2v_backend import ledger
from layert2v_backend.settings import Settings
from support.running_backend import sketch_settings
from support.small_disk import SmallDisk
from support.wire_shots import write_sketch_model


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    write_sketch_model(tmp_path / "models" / "sketch")
    return sketch_settings(tmp_path)


@pytest.fixture
def small_disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[SmallDisk]:
    """A tmpfs of 2 MiB, which only root may mount."""
    folder = tmp_path / "state"
    folder.mkdir()
    mount = shutil.which("mount")
    if sys.platform != "linux" or os.geteuid() != 0 or mount is None:
        pytest.skip("mounting a disk needs root on Linux")
    options = ["-t", "tmpfs", "-o", "size=2m,mode=0700", "none", str(folder)]
    if subprocess.run([mount, *options], capture_output=True).returncode:
        pytest.skip("this system lets nobody mount a disk")
    monkeypatch.setattr(ledger, "_DISK_RETRY_S", 0.01)
    try:
        yield SmallDisk(folder)
    finally:
        subprocess.run(["umount", "--lazy", str(folder)], check=True)
