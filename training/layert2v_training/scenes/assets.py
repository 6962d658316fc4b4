"""Fetch the packages whose pictures the shipped model learns from, and unpack those pictures.

No picture is committed. Packages come by name and version from npm and Debian, and are checked
against the hashes below. They leave `sprites/*.png`, `photographs/*.png`, `panoramas/*.png` and
`manifest.json` (package, version, path, licence, SHA-256) in a cache folder outside git.
"""

import base64
import hashlib
import io
import json
import re
import shutil
import subprocess
import tarfile
import tempfile
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
import OpenEXR
from PIL import Image
from pydantic import BaseModel, TypeAdapter, ValidationError

from layert2v_training.scenes.qt_resources import read_resources
from layert2v_training.scenes.subjects import PANORAMAS, PHOTOGRAPHS, SUBJECTS

MANIFEST = "manifest.json"
SPRITE_PIXELS = 160
PHOTOGRAPH_PIXELS = 480
"""Longest sides kept: two and a half times the largest use in a 192-pixel-wide clip."""


class AssetsUnavailable(RuntimeError):
    """Raised when a package cannot be fetched or is not the one this recipe was made with."""


class _Entry(BaseModel):
    """The manifest's entry of a file, as far as it is checked."""

    file: str
    sha256: str


_ENTRIES = TypeAdapter(list[_Entry])


@dataclass(frozen=True)
class Package:
    """A package of pictures, pinned."""

    manager: str
    """`npm` or `apt`."""
    name: str
    version: str
    sha256: str
    licence: str


FLUENT = Package(
    "npm",
    "@lobehub/fluent-emoji-3d",
    "1.1.0",
    "c1bb7eee7de090205a232518a9ab4adb3df458bfbe8a1f78232991194c8b2e58",
    "MIT",
)
PMNDRS = Package(
    "npm",
    "@pmndrs/assets",
    "1.7.0",
    "152bd218a3390703f184f0c6ce16e73c8f0a87f32d38530d418a09d33d8208dc",
    "CC0-1.0",
)
GCOMPRIS = Package(
    "apt",
    "gcompris-qt-data",
    "3.1-2",
    "e9cf06ab2105529068df73085784e835d2ff03f870d2a8091f09125d40abac9f",
    "CC0-1.0 or public domain, per file",
)
BLENDER_DATA = Package(
    "apt",
    "blender-data",
    "3.4.1+dfsg-2",
    "5ceaf56a49ba3ded95c751d739aeec3d19e7fad76fba5cb70666986af9303b0e",
    "CC0-1.0",
)


Pictures = Iterator[tuple[str, str, Image.Image]]
"""File to write, path in the package, picture."""
Sources = Sequence[tuple[Package, Callable[[Path], Pictures]]]
"""Packages, and what takes pictures out of each once it is unpacked."""


def fetch_assets(cache: Path, sources: Sources | None = None) -> Path:
    """Make sure the pictures are in `cache`, whole, and return it.

    Args:
        cache: Folder to fill, or filled before: then every file is checked (`verify_assets`).
        sources: Sources to fetch; None: `SOURCES`.

    Raises:
        AssetsUnavailable: A package manager is missing, the version is gone, or a hash differs.
    """
    if (cache / MANIFEST).is_file():
        verify_assets(cache)
        return cache
    entries: list[dict[str, str]] = []
    with tempfile.TemporaryDirectory() as scratch:
        for package, pictures in SOURCES if sources is None else sources:
            entries += _unpack(pictures(_fetch(package, Path(scratch))), package, cache)
    (cache / MANIFEST).write_text(json.dumps(entries, indent=1))
    return cache


def verify_assets(cache: Path) -> int:
    """Compare every file with the SHA-256 that the manifest has of it. Give their number.

    Raises:
        AssetsUnavailable: There is no manifest, it cannot be read, or files are missing or
            changed: names each, and says how to fetch them again.
    """
    manifest = cache / MANIFEST
    again = f"remove {manifest} and run `layert2v-data assets {cache}`, which fetches all again"
    try:
        entries = _ENTRIES.validate_json(manifest.read_bytes())
    except FileNotFoundError as error:
        raise AssetsUnavailable(
            f"{manifest} is missing; run `layert2v-data assets {cache}` to fetch the pictures"
        ) from error
    except (OSError, ValidationError) as error:
        raise AssetsUnavailable(f"{manifest} cannot be read as a manifest; {again}") from error
    wrong = [said for entry in entries if (said := _difference(cache, entry))]
    if wrong:
        lines = "\n".join(wrong)
        raise AssetsUnavailable(
            f"{len(wrong)} of {len(entries)} files are wrong; {again}:\n{lines}"
        )
    return len(entries)


def _difference(cache: Path, entry: _Entry) -> str | None:
    path = cache / entry.file
    try:
        digest = _sha256(path)
    except OSError as error:
        return f"{path} cannot be read ({error.strerror})"
    if digest == entry.sha256:
        return None
    return f"{path} has SHA-256 {digest}, and {entry.sha256} in the manifest"


def _sha256(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def run_tool(command: list[str], folder: Path) -> None:
    """Run a package manager in a folder.

    Raises:
        AssetsUnavailable: It is not installed, or fails.
    """
    try:
        subprocess.run(command, cwd=folder, check=True, capture_output=True, text=True)
    except FileNotFoundError as error:
        raise AssetsUnavailable(
            f"{command[0]} is not installed; install it to fetch {command[-1]}"
        ) from error
    except subprocess.CalledProcessError as error:
        raise AssetsUnavailable(f"{' '.join(command)} failed: {error.stderr[-300:]}") from error


def _fetch(package: Package, scratch: Path) -> Path:
    folder = scratch / package.name.replace("/", "_")
    folder.mkdir()
    if package.manager == "npm":
        run_tool(["npm", "pack", "--silent", f"{package.name}@{package.version}"], folder)
    else:
        run_tool(["apt-get", "download", f"{package.name}={package.version}"], folder)
    (archive,) = folder.iterdir()
    digest = _sha256(archive)
    if digest != package.sha256:
        raise AssetsUnavailable(
            f"{package.name} {package.version} has SHA-256 {digest}, expected {package.sha256}: "
            f"it is not the package this recipe was made with; fetch from another mirror"
        )
    unpacked = folder / "unpacked"
    unpacked.mkdir()
    if package.manager == "npm":
        extract_files(archive, unpacked)
    else:
        run_tool(["dpkg", "-x", str(archive), str(unpacked)], folder)
    return unpacked


def extract_files(archive: Path, folder: Path) -> None:
    """Extract the regular files of a tar archive. Links, devices and modes are left out.

    `tarfile` has filters since Python 3.11.4 only, and Debian 12 has 3.11.2.

    Raises:
        AssetsUnavailable: A member's name leaves the folder.
    """
    root = folder.resolve()
    with tarfile.open(archive) as tar:
        for member in tar:
            target = (root / member.name).resolve()
            if not target.is_relative_to(root):
                raise AssetsUnavailable(
                    f"{archive.name} holds {member.name}, which lies outside the folder it is "
                    f"unpacked into; fetch the package from another mirror"
                )
            content = tar.extractfile(member) if member.isfile() else None
            if content is not None:
                target.parent.mkdir(parents=True, exist_ok=True)
                with content, target.open("wb") as file:
                    shutil.copyfileobj(content, file)


def _unpack(pictures: Pictures, package: Package, cache: Path) -> list[dict[str, str]]:
    entries = []
    for path, source, picture in pictures:
        target = cache / path
        target.parent.mkdir(parents=True, exist_ok=True)
        picture.save(target)
        entries.append(
            {
                "file": path,
                "package": f"{package.name}@{package.version}",
                "path": source,
                "licence": package.licence,
                "sha256": _sha256(target),
            }
        )
    return entries


def _fluent_sprites(folder: Path) -> Pictures:
    for code in SUBJECTS:
        source = f"package/assets/{code}.webp"
        picture = Image.open(folder / source).convert("RGBA")
        picture.thumbnail((SPRITE_PIXELS, SPRITE_PIXELS), Image.Resampling.LANCZOS)
        yield f"sprites/{code}.png", source, picture


def _gcompris_photographs(folder: Path) -> Pictures:
    root = folder / "usr/share/gcompris-qt/rcc"
    for resource in sorted({key.split("/")[0] for key in PHOTOGRAPHS}):
        for source, content in read_resources(root / f"{resource}.rcc"):
            key = f"{resource}/{Path(source).stem}"
            if key in PHOTOGRAPHS and source.endswith(".webp"):
                picture = Image.open(io.BytesIO(content)).convert("RGB")
                picture.thumbnail((PHOTOGRAPH_PIXELS, PHOTOGRAPH_PIXELS))
                yield f"photographs/{key.replace('/', '_')}.png", source, picture


def _pmndrs_panoramas(folder: Path) -> Pictures:
    for key in PANORAMAS:
        package, name = key.split("/")
        if package == "pmndrs":
            source = f"package/hdri/{name}.exr.js"
            encoded = re.search(r"base64,([A-Za-z0-9+/=]+)", (folder / source).read_text())
            assert encoded is not None, f"no data in {source}"
            with tempfile.NamedTemporaryFile(suffix=".exr") as exr:
                exr.write(base64.b64decode(encoded.group(1)))
                exr.flush()
                yield f"panoramas/pmndrs_{name}.png", source, _tone_mapped(Path(exr.name))


def _blender_panoramas(folder: Path) -> Pictures:
    for key in PANORAMAS:
        package, name = key.split("/")
        if package == "blender":
            source = f"usr/share/blender/datafiles/studiolights/world/{name}.exr"
            yield f"panoramas/blender_{name}.png", source, _tone_mapped(folder / source)


SOURCES: Sources = (
    (FLUENT, _fluent_sprites),
    (GCOMPRIS, _gcompris_photographs),
    (PMNDRS, _pmndrs_panoramas),
    (BLENDER_DATA, _blender_panoramas),
)


def _tone_mapped(path: Path) -> Image.Image:
    """Expose linear light so that its 90th percentile sits at 0.8, clip, and encode as sRGB."""
    channels = OpenEXR.File(str(path)).channels()
    names = list(channels)
    if len(names) == 1:
        linear = channels[names[0]].pixels[..., :3].astype(np.float32)
    else:
        linear = np.stack([channels[name].pixels for name in "RGB"], -1).astype(np.float32)
    exposed = np.clip(linear / np.percentile(linear, 90) * 0.8, 0, 1)
    # DWAB ringing leaves black specks around suns and lamps: what is dark there is blown out.
    glare = cv2.dilate(exposed.min(-1), np.ones((7, 7))) >= 1
    exposed[glare & (exposed.min(-1) < 0.1)] = 1
    encoded = np.where(exposed <= 0.0031308, 12.92 * exposed, 1.055 * exposed ** (1 / 2.4) - 0.055)
    return Image.fromarray((encoded * 255 + 0.5).astype(np.uint8))
