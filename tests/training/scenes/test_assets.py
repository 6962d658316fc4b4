import io
import json
import tarfile
from dataclasses import replace
from pathlib import Path

import pytest
from PIL import Image
from typer.testing import CliRunner

from layert2v_training.data_cli import app
from layert2v_training.scenes.assets import (
    SOURCES,
    AssetsUnavailable,
    extract_files,
    fetch_assets,
    verify_assets,
)
from layert2v_training.scenes.subjects import SUBJECTS
from support.fake_index import fake_sprites, serve_fake_package

_SPRITES = SOURCES[0][1]


@pytest.fixture
def fetched(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Sprites of the fake index, fetched."""
    package = serve_fake_package(tmp_path, fake_sprites(), monkeypatch)
    return fetch_assets(tmp_path / "cache", [(package, _SPRITES)])


def test_pictures_are_fetched_by_name_and_listed_with_their_origin(fetched: Path) -> None:
    entries = json.loads((fetched / "manifest.json").read_text())

    code = next(iter(SUBJECTS))
    assert len(entries) == len(SUBJECTS) == verify_assets(fetched)
    assert entries[0] == {
        "file": f"sprites/{code}.png",
        "package": "fake-sprites@1.0.0",
        "path": f"package/assets/{code}.webp",
        "licence": "CC0-1.0",
        "sha256": entries[0]["sha256"],
    }
    with Image.open(fetched / entries[0]["file"]) as picture:
        assert picture.size == (8, 8)


def test_a_package_of_another_hash_is_refused_and_leaves_no_manifest(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    package = serve_fake_package(tmp_path, fake_sprites(), monkeypatch)
    pinned = replace(package, sha256="0" * 64)

    with pytest.raises(AssetsUnavailable, match=f"has SHA-256 {package.sha256}, expected 000"):
        fetch_assets(tmp_path / "cache", [(pinned, _SPRITES)])

    assert not (tmp_path / "cache" / "manifest.json").exists()


def test_a_version_that_is_gone_is_refused_in_the_words_of_the_index(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    package = serve_fake_package(tmp_path, fake_sprites(), monkeypatch)

    with pytest.raises(AssetsUnavailable, match=r"no such package: .*fake-sprites@2\.0\.0"):
        fetch_assets(tmp_path / "cache", [(replace(package, version="2.0.0"), _SPRITES)])


def test_all_changed_and_missing_files_are_named_with_what_to_do(fetched: Path) -> None:
    changed, gone = (fetched / "sprites" / f"{code}.png" for code in list(SUBJECTS)[:2])
    changed.write_bytes(b"something else")
    gone.unlink()

    result = CliRunner().invoke(app, ["assets", str(fetched), "--verify"])

    assert result.exit_code == 2
    assert f"2 of {len(SUBJECTS)} files are wrong" in result.output
    assert f"{changed} has SHA-256" in result.output
    assert f"{gone} cannot be read (No such file" in result.output
    assert f"remove {fetched / 'manifest.json'} and run `layert2v-data assets" in result.output


def test_training_does_not_take_changed_pictures_for_the_fetched(fetched: Path) -> None:
    (fetched / "sprites" / f"{next(iter(SUBJECTS))}.png").write_bytes(b"something else")

    with pytest.raises(AssetsUnavailable, match="1 of"):
        fetch_assets(fetched)


def test_an_archive_is_extracted_as_files_in_its_own_folder_only(tmp_path: Path) -> None:
    archive = pack(tmp_path / "a.tgz", "package/a.txt")

    extract_files(archive, tmp_path / "unpacked")

    assert (tmp_path / "unpacked" / "package" / "a.txt").read_bytes() == b"content"
    assert not (tmp_path / "unpacked" / "link").is_symlink()


@pytest.mark.parametrize("name", ["../outside.txt", "/outside.txt", "package/../../outside.txt"])
def test_a_member_that_leaves_the_folder_is_refused(tmp_path: Path, name: str) -> None:
    archive = pack(tmp_path / "a.tgz", name)

    with pytest.raises(AssetsUnavailable, match="which lies outside the folder"):
        extract_files(archive, tmp_path / "unpacked")

    assert not (tmp_path / "outside.txt").exists()


def pack(archive: Path, name: str) -> Path:
    """Pack a link and one file of a given name."""
    link, member = tarfile.TarInfo("link"), tarfile.TarInfo(name)
    link.type, link.linkname = tarfile.SYMTYPE, "/etc"
    member.size = len(b"content")
    with tarfile.open(archive, "w:gz") as tar:
        tar.addfile(link)
        tar.addfile(member, io.BytesIO(b"content"))
    return archive


def test_whole_pictures_are_counted(fetched: Path) -> None:
    result = CliRunner().invoke(app, ["assets", str(fetched)])

    assert result.exit_code == 0
    assert result.output == f"{len(SUBJECTS)} files in {fetched} match the manifest\n"


@pytest.mark.parametrize("text", ["[", "{}", '[{"file": "a.png"}]', '[{"file": 1, "sha256": ""}]'])
def test_a_manifest_that_is_none_is_refused(fetched: Path, text: str) -> None:
    (fetched / "manifest.json").write_text(text)

    with pytest.raises(AssetsUnavailable, match="cannot be read as a manifest; remove"):
        verify_assets(fetched)


def test_verifying_fetches_nothing(tmp_path: Path) -> None:
    result = CliRunner().invoke(app, ["assets", str(tmp_path / "empty"), "--verify"])

    assert result.exit_code == 2
    assert "manifest.json is missing; run `layert2v-data assets" in result.output
    assert not (tmp_path / "empty").exists()
