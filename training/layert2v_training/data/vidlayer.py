"""VidLayer as published: a folder per sample, or a line of JSON per sample.

Foregrounds are full x matte: no foreground file is read. Fields: LayerT2V's release, `dataset.py`.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from layert2v_training.data.clip_files import ClipFiles, LayerFiles
from layert2v_training.data.footage import Footage
from layert2v_training.data.problems import BadClip

_FILES = {
    "full_video": "full_video.mp4",
    "background_video": "background.mp4",
    "mask_video": "mask.mp4",
}
"""Key of `paths` in metadata.json to the file's usual name."""


def is_vidlayer_folder(folder: Path) -> bool:
    """Tell whether a folder is laid out as a VidLayer sample."""
    return any((folder / name).is_file() for name in ("metadata.json", *_FILES.values()))


def from_folder(folder: Path, metadata: Mapping[str, Any]) -> ClipFiles:
    """Find the files of a sample: those beside `metadata`, else where it says.

    Raises:
        BadClip: A path or a caption is missing.
    """
    paths = metadata.get("paths", {})
    full, background, matte = (
        _existing(folder, name, paths.get(key)) for key, name in _FILES.items()
    )
    captions = metadata.get("captions", {})
    return _clip(folder, folder, full, background, matte, captions)


def from_line(where: Path, folder: Path, line: Mapping[str, Any]) -> ClipFiles:
    """Read a line of the published JSONL; relative paths start at `folder`.

    Raises:
        BadClip: A path or a caption is missing.
    """
    entry = line.get("entry", {})
    captions = {
        "full": line.get("overall_description"),
        "foreground": line.get("foreground_prompt"),
        "background": line.get("background_prompt"),
    }
    paths = line.get("vid"), entry.get("bg_path"), entry.get("pha_video_path")
    return _clip(where, folder, *paths, captions)


def _existing(folder: Path, name: str, fallback: str | None) -> str | None:
    return name if (folder / name).is_file() else fallback


def _clip(
    where: Path,
    folder: Path,
    full: str | None,
    background: str | None,
    matte: str | None,
    captions: Mapping[str, Any],
) -> ClipFiles:
    if not full or not background or not matte:
        named = {"full video": full, "background": background, "matte": matte}
        missing = ", ".join(name for name, path in named.items() if not path)
        raise BadClip(where, f"has no {missing}")
    for key in ("foreground", "background"):
        if not str(captions.get(key) or "").strip():
            raise BadClip(where, f"has no {key} caption")
    foreground = LayerFiles(str(captions["foreground"]), None, Footage(folder / matte))
    return ClipFiles(
        where,
        Footage(folder / background),
        str(captions["background"]),
        (foreground,),
        Footage(folder / full),
        str(captions.get("full") or ""),
    )
