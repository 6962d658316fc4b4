"""Clips of a folder or a JSONL file, and which of its parts are none."""

import json
from collections.abc import Iterator
from pathlib import Path

from layert2v_training.data import renders, vidlayer
from layert2v_training.data.clip_files import ClipFiles
from layert2v_training.data.problems import BadClip


def find_clips(source: Path) -> tuple[list[ClipFiles], list[BadClip]]:
    """Find the clips of a source, and what looks like one but cannot be read.

    Args:
        source: A clip's folder, a folder of such folders, or a `.jsonl` file whose lines are
            VidLayer's, `{"clip": FOLDER}`, or descriptions as in `renders`.
    """
    clips: list[ClipFiles] = []
    bad: list[BadClip] = []
    if not source.exists():
        return clips, [BadClip(source, "is missing")]
    for place in _lines(source) if source.is_file() else _folders(source):
        try:
            clips.append(_clip_of(*place))
        except BadClip as problem:
            bad.append(problem)
    if not clips and not bad:
        bad.append(BadClip(source, "holds no clip: it is empty"))
    return clips, bad


def _folders(source: Path) -> Iterator[tuple[Path, str | None]]:
    if vidlayer.is_vidlayer_folder(source) or renders.find_description(source):
        yield source, None
        return
    for folder in sorted(source.iterdir()):
        if folder.is_dir() and not folder.name.startswith("."):
            yield folder, None


def _lines(source: Path) -> Iterator[tuple[Path, str | None]]:
    for number, line in enumerate(source.read_text("utf-8").splitlines(), start=1):
        if line.strip():
            yield source.with_name(f"{source.name}:{number}"), line


def _clip_of(where: Path, line: str | None) -> ClipFiles:
    return _clip_of_folder(where) if line is None else _clip_of_line(where, line)


def _clip_of_folder(folder: Path) -> ClipFiles:
    if not any(folder.iterdir()):
        raise BadClip(folder, "is empty")
    description = renders.find_description(folder)
    if description is not None:
        return renders.from_folder(description)
    if (folder / "metadata.json").is_file():
        return vidlayer.from_folder(folder, renders.read_mapping(folder / "metadata.json"))
    wanted = ", ".join((*renders.DESCRIPTIONS, "metadata.json"))
    raise BadClip(folder, f"has no captions: one of {wanted} is needed")


def _clip_of_line(where: Path, line: str) -> ClipFiles:
    try:
        read = json.loads(line)
    except ValueError as failure:
        raise BadClip(where, f"is not JSON: {failure}") from failure
    if not isinstance(read, dict):
        raise BadClip(where, "is not a JSON object")
    if "vid" in read:
        return vidlayer.from_line(where, where.parent, read)
    if "clip" not in read:
        return renders.from_mapping(where, where.parent, read)
    folder = where.parent / str(read["clip"])
    if not folder.is_dir():
        raise BadClip(where, f"names {read['clip']}, which is no folder")
    return _clip_of_folder(folder)
