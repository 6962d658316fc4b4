"""A package index of one small archive, and an `npm` that fetches only from it."""

import hashlib
import io
import tarfile
from collections.abc import Mapping
from pathlib import Path

import pytest
from PIL import Image

from layert2v_training.scenes.assets import Package
from layert2v_training.scenes.subjects import SUBJECTS


def fake_sprites() -> dict[str, bytes]:
    """Give a small red picture under every name that the sprites' package holds."""
    encoded = io.BytesIO()
    Image.new("RGBA", (8, 8), (200, 30, 30, 255)).save(encoded, "webp")
    return {f"package/assets/{code}.webp": encoded.getvalue() for code in SUBJECTS}


def serve_fake_package(
    folder: Path, files: Mapping[str, bytes], monkeypatch: pytest.MonkeyPatch
) -> Package:
    """Pack files as an npm archive that a fake `npm` hands out, and pin it."""
    archive = folder / "fake-sprites-1.0.0.tgz"
    with tarfile.open(archive, "w:gz") as tar:
        for name, content in files.items():
            member = tarfile.TarInfo(name)
            member.size = len(content)
            tar.addfile(member, io.BytesIO(content))
    (folder / "bin").mkdir()
    npm = folder / "bin" / "npm"
    npm.write_text(
        f'#!/bin/sh\ncase "$*" in *fake-sprites@1.0.0) cp "{archive}" . ;;\n'
        '*) echo "no such package: $*" >&2; exit 1 ;; esac\n'
    )
    npm.chmod(0o755)
    monkeypatch.setenv("PATH", str(folder / "bin"), prepend=":")
    digest = hashlib.sha256(archive.read_bytes()).hexdigest()
    return Package("npm", "fake-sprites", "1.0.0", digest, "CC0-1.0")
