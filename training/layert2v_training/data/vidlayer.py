"""VidLayer as published: a folder per sample, or a line of JSON per sample.

Foregrounds are full x matte, or their own clip where there is one. Fields: LayerT2V's release,
`dataset.py`; the optional clip is said by VidLayer's card, and its names here follow the others.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from pydantic import BaseModel

from layert2v_training.data.clip_files import ClipFiles, ClipLayer
from layert2v_training.data.clip_footage import Footage
from layert2v_training.data.named import find_footage
from layert2v_training.data.problems import BadClip
from layert2v_training.data.texts import read_mapping, validated


class _Captions(BaseModel):
    full: str | None = None
    foreground: str | None = None
    background: str | None = None


class _Paths(BaseModel):
    full_video: str | None = None
    background_video: str | None = None
    mask_video: str | None = None
    foreground_video: str | None = None


class _Metadata(BaseModel):
    paths: _Paths = _Paths()
    captions: _Captions = _Captions()


class _Entry(BaseModel):
    bg_path: str | None = None
    pha_video_path: str | None = None
    fgr_video_path: str | None = None
    """MatAnyone's name beside `pha`."""
    fg_path: str | None = None


class _Line(BaseModel):
    vid: str | None = None
    entry: _Entry = _Entry()
    overall_description: str | None = None
    foreground_prompt: str | None = None
    background_prompt: str | None = None


_NAMES = {
    "full_video": ("full_video", "full"),
    "background_video": ("background",),
    "mask_video": ("mask", "matte"),
    "foreground_video": ("foreground",),
}
"""Key of `paths` in metadata.json to the usual name, and that on the authors' page. Each is a movie
or a folder of pictures."""
_SURE = ("metadata.json", "full_video.mp4", "background.mp4", "mask.mp4", "foreground.mp4")


def is_vidlayer_folder(folder: Path) -> bool:
    """Tell whether a folder is laid out as a VidLayer sample."""
    return any((folder / name).is_file() for name in _SURE)


def from_folder(folder: Path) -> ClipFiles:
    """Find the footage of a sample: beside `metadata.json`, else where it says.

    Raises:
        BadClip: `metadata.json` cannot be used, or a path or a caption is missing.
    """
    text = folder / "metadata.json"
    metadata = validated(_Metadata, text, read_mapping(text))
    said = metadata.paths.model_dump()
    found = {key: _beside(folder, names) or said[key] for key, names in _NAMES.items()}
    return _clip(folder, folder, _Paths(**found), metadata.captions)


def _beside(folder: Path, names: Sequence[str]) -> str | None:
    """Return the name of the first footage that a folder holds."""
    found = (find_footage(folder, name) for name in names)
    return next((path.name for path in found if path is not None), None)


def from_line(where: Path, folder: Path, read: Mapping[str, Any]) -> ClipFiles:
    """Take a line of the published JSONL; relative paths start at `folder`.

    Raises:
        BadClip: It is not made as published, or a path or a caption is missing.
    """
    line = validated(_Line, where, read)
    captions = _Captions(
        full=line.overall_description,
        foreground=line.foreground_prompt,
        background=line.background_prompt,
    )
    paths = _Paths(
        full_video=line.vid,
        background_video=line.entry.bg_path,
        mask_video=line.entry.pha_video_path,
        foreground_video=line.entry.fg_path or line.entry.fgr_video_path,
    )
    return _clip(where, folder, paths, captions)


def _clip(where: Path, folder: Path, paths: _Paths, captions: _Captions) -> ClipFiles:
    full, background, matte = paths.full_video, paths.background_video, paths.mask_video
    if not full or not background or not matte:
        named = {"full video": full, "background": background, "matte": matte}
        missing = ", ".join(name for name, path in named.items() if not path)
        raise BadClip(where, f"has no {missing}; name it")
    for name, caption in captions:
        if name != "full" and not (caption or "").strip():
            raise BadClip(where, f"has no {name} caption; write one")
    own = Footage(folder / paths.foreground_video) if paths.foreground_video else None
    caption = captions.foreground or ""
    foreground = ClipLayer(caption, own, Footage(folder / matte), is_over_fill=own is not None)
    return ClipFiles(
        where,
        Footage(folder / background),
        captions.background or "",
        (foreground,),
        Footage(folder / full),
        captions.full or "",
    )
