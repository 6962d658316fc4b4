"""Builds the extension: `python build_addon.py` writes dist/layert2v-<version>.zip.

One zip serves every Blender from 4.2 and every platform, because its wheels are pure Python. The
same sources give the same bytes. This needs a Python with pip and the bpy module, whose extension
tool validates the result.
"""

import argparse
import base64
import hashlib
import importlib.util
import shutil
import subprocess
import sys
import tomllib
import zipfile
from collections.abc import Iterable, Mapping
from pathlib import Path

ROOT = Path(__file__).parent
SOURCE = ROOT / "blender_addon"
WHEEL_CACHE = ROOT / "build" / "wheels"
STAGE = ROOT / "build" / "addon"
LARGEST_ZIP_BYTES = 1_000_000
"""Limit for a repository of extensions and a slow line. The zip had 450 KB in 2026."""
EPOCH = (1980, 1, 1, 0, 0, 0)
"""Time stamp of every file in the archives, the earliest of the zip format."""
PINS: Mapping[str, str] = {
    "grpclib": "0.4.9",
    "h2": "4.4.1",
    "hpack": "4.2.0",
    "hyperframe": "6.1.0",
    "multidict": "7.2.1",
    "protobuf": "7.36.2",
}
"""Packages of the client, each with a py3-none-any wheel on PyPI."""
OWN_PACKAGES = (
    "layert2v",
    "layert2v_client",
    "layert2v_domain",
    "layert2v_wire",
    "layert2v_words",
)
"""Packages of `proto` in the client's wheel."""
VALID_TAGS = frozenset({"Sequencer", "Import-Export", "Compositing", "Pipeline", "Video"})
"""Tags allowed for add-ons. Source: extensions.blender.org, tags of add-ons, 2026. Blender's own
validation accepts any."""


class BuildFailed(Exception):
    """Raised when no valid zip can be made. Says why and names the remedy."""


def main() -> int:
    """Build, check and name the zip. Give 0 if it can be installed, else 2."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, default=ROOT / "dist", help="folder for the zip")
    parser.add_argument(
        "--fetch",
        action="store_true",
        help="only fetch the wheels, so that later builds need no network",
    )
    asked = parser.parse_args()
    try:
        if asked.fetch:
            _fetch_wheels()
            return 0
        path = build(asked.out)
    except BuildFailed as failure:
        print(f"build_addon: {failure}", file=sys.stderr)
        return 2
    print(f"{path} ({path.stat().st_size / 1000:.0f} KB)")
    return 0


def build(out: Path) -> Path:
    """Build the zip into `out` and give its path.

    Raises:
        BuildFailed: A wheel cannot be fetched, or the result breaks a rule.
    """
    manifest = tomllib.loads((SOURCE / "blender_manifest.toml").read_text())
    version = manifest["version"]
    wheels = [*_fetch_wheels(), _own_wheel(version)]
    _stage(wheels)
    draft = ROOT / "build" / f"{manifest['id']}-{version}.zip"
    write_archive(draft, _files_under(STAGE))
    _check(draft, manifest, wheels)
    out.mkdir(parents=True, exist_ok=True)
    return Path(shutil.move(draft, out / draft.name))


def write_archive(path: Path, files: Mapping[str, bytes]) -> None:
    """Write a zip whose bytes depend on names and contents only."""
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED, compresslevel=9) as archive:
        for name in sorted(files):
            info = zipfile.ZipInfo(name, EPOCH)
            info.compress_type = zipfile.ZIP_DEFLATED
            info.external_attr = 0o644 << 16
            archive.writestr(info, files[name])


def _fetch_wheels() -> list[Path]:
    WHEEL_CACHE.mkdir(parents=True, exist_ok=True)
    wheels = []
    for name, version in PINS.items():
        path = WHEEL_CACHE / f"{name}-{version}-py3-none-any.whl"
        if not path.exists():
            _download(f"{name}=={version}")
        if not path.exists():
            raise BuildFailed(f"PyPI has no pure wheel of {name} {version}: choose another version")
        wheels.append(path)
    return wheels


def _download(requirement: str) -> None:
    command = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps"]
    command += ["--only-binary", ":all:", "--platform", "any", "--implementation", "py"]
    command += ["--abi", "none", "--python-version", "3.11", "--dest", str(WHEEL_CACHE)]
    result = subprocess.run([*command, requirement], capture_output=True, text=True, check=False)
    if result.returncode != 0:
        last = (result.stderr.strip().splitlines() or ["pip gave no reason"])[-1]
        raise BuildFailed(f"{requirement} cannot be downloaded ({last}): check the network")


def _own_wheel(version: str) -> Path:
    """Pack the client and our packages that it needs, without the stubs for grpcio servers."""
    files: dict[str, bytes] = {}
    for package in OWN_PACKAGES:
        found = _files_under(ROOT / "proto" / package)
        files |= {f"{package}/{name}": data for name, data in found.items() if _is_shipped(name)}
    info = f"layert2v_client-{version}.dist-info"
    files[f"{info}/METADATA"] = (
        f"Metadata-Version: 2.1\nName: layert2v-client\nVersion: {version}\nLicense: Apache-2.0\n"
    ).encode()
    files[f"{info}/WHEEL"] = (
        b"Wheel-Version: 1.0\nGenerator: build_addon\nRoot-Is-Purelib: true\nTag: py3-none-any\n"
    )
    record = f"{info}/RECORD"
    lines = [f"{name},sha256={_digest(data)},{len(data)}" for name, data in sorted(files.items())]
    files[record] = ("\n".join([*lines, f"{record},,"]) + "\n").encode()
    path = WHEEL_CACHE / f"layert2v_client-{version}-py3-none-any.whl"
    write_archive(path, files)
    return path


def _is_shipped(name: str) -> bool:
    return name.endswith((".py", "py.typed")) and not name.endswith("_pb2_grpc.py")


def _digest(data: bytes) -> str:
    return base64.urlsafe_b64encode(hashlib.sha256(data).digest()).rstrip(b"=").decode()


def _files_under(folder: Path) -> dict[str, bytes]:
    return {
        path.relative_to(folder).as_posix(): path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.is_file() and "__pycache__" not in path.parts and path.suffix != ".pyc"
    }


def _stage(wheels: Iterable[Path]) -> None:
    shutil.rmtree(STAGE, ignore_errors=True)
    for name, data in _files_under(SOURCE).items():
        path = STAGE / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)
    (STAGE / "wheels").mkdir()
    names = []
    for wheel in wheels:
        shutil.copyfile(wheel, STAGE / "wheels" / wheel.name)
        names.append(f'    "./wheels/{wheel.name}",\n')
    manifest = STAGE / "blender_manifest.toml"
    text = manifest.read_text()
    if "wheels = []" not in text:
        raise BuildFailed("blender_manifest.toml has no line `wheels = []` to fill in")
    manifest.write_text(text.replace("wheels = []", f"wheels = [\n{''.join(names)}]"))


def _check(path: Path, manifest: Mapping[str, object], wheels: Iterable[Path]) -> None:
    size = path.stat().st_size
    if size >= LARGEST_ZIP_BYTES:
        raise BuildFailed(
            f"{path} has {size} bytes, and the limit is {LARGEST_ZIP_BYTES}: drop a wheel"
        )
    for wheel in wheels:
        if not wheel.name.endswith("-py3-none-any.whl"):
            raise BuildFailed(f"{wheel.name} is not pure Python: choose another version")
    tags, licences = manifest["tags"], manifest["license"]
    assert isinstance(tags, list)
    assert isinstance(licences, list)
    if not VALID_TAGS.issuperset(tags):
        raise BuildFailed(f"{tags} holds an unknown tag: use only {sorted(VALID_TAGS)}")
    if licences != ["SPDX:GPL-3.0-or-later"]:
        raise BuildFailed(f"the licence is {licences}: use ['SPDX:GPL-3.0-or-later']")
    _validate(path)


def extension_tool() -> Path:
    """Find Blender's extension tool inside the bpy module.

    Raises:
        BuildFailed: This Python has no bpy module.
    """
    spec = importlib.util.find_spec("bpy")
    if spec is None or spec.origin is None:
        raise BuildFailed("this Python has no bpy module for validation: pip install bpy==4.5.15")
    pattern = "*/scripts/addons_core/bl_pkg/cli/blender_ext.py"
    for path in Path(spec.origin).parent.glob(pattern):
        return path
    raise BuildFailed(f"the bpy module in {spec.origin} has no extension tool: use 4.2 or later")


def _validate(path: Path) -> None:
    command = [sys.executable, str(extension_tool()), "validate", str(path)]
    result = subprocess.run(command, capture_output=True, text=True, check=False)
    if result.returncode != 0:
        raise BuildFailed(f"Blender refuses {path}: {result.stdout}{result.stderr}")


if __name__ == "__main__":
    sys.exit(main())
