import os
from pathlib import Path

import pytest

from layert2v_model.files import durable
from layert2v_model.files.durable import publish_file, publish_folder, write_text_durably


@pytest.fixture
def steps(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """What is synced and renamed, in order, by name."""
    done: list[str] = []
    fsync, replace = os.fsync, Path.replace

    def spy_fsync(handle: int) -> None:
        done.append(f"sync {Path(os.readlink(f'/proc/self/fd/{handle}')).name}")
        fsync(handle)

    def spy_replace(self: Path, target: Path) -> Path:
        done.append(f"rename {self.name} {target.name}")
        return replace(self, target)

    monkeypatch.setattr(durable.os, "fsync", spy_fsync)
    monkeypatch.setattr(Path, "replace", spy_replace)
    return done


needs_proc = pytest.mark.skipif(not Path("/proc/self/fd").is_dir(), reason="reads /proc")


@needs_proc
def test_a_file_is_synced_before_its_name_and_its_folder_after(
    tmp_path: Path, steps: list[str]
) -> None:
    (tmp_path / "a.part").write_text("whole")

    publish_file(tmp_path / "a.part", tmp_path / "a")

    assert steps == ["sync a.part", "rename a.part a", f"sync {tmp_path.name}"]
    assert (tmp_path / "a").read_text() == "whole"


@needs_proc
def test_a_folder_is_synced_with_all_that_is_in_it(tmp_path: Path, steps: list[str]) -> None:
    (tmp_path / "part" / "inner").mkdir(parents=True)
    (tmp_path / "part" / "inner" / "a").write_text("whole")

    publish_folder(tmp_path / "part", tmp_path / "whole")

    renamed = steps.index("rename part whole")
    assert set(steps[:renamed]) == {"sync a", "sync inner", "sync part"}
    assert steps[renamed + 1 :] == [f"sync {tmp_path.name}"]


def test_a_small_file_is_replaced_whole_or_not_at_all(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "a.json"
    write_text_durably(path, "first")

    def fail(handle: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(durable.os, "fsync", fail)
    with pytest.raises(OSError, match="No space"):
        write_text_durably(path, "second")

    assert path.read_text() == "first"
    assert list(tmp_path.iterdir()) == [path]
