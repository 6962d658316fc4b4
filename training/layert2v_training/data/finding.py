"""Clips of a folder or a JSONL file, and which of its parts are none."""

from dataclasses import replace
from pathlib import Path

from layert2v_media.kinds import is_movie, is_picture, listed
from layert2v_training.data import renders, vidlayer
from layert2v_training.data.clip_files import ClipFiles
from layert2v_training.data.encodings import decoded_text, read_list
from layert2v_training.data.named import holds_named_layers
from layert2v_training.data.problems import MISSING, BadClip, reading, shortened
from layert2v_training.data.texts import parse_json

LIST = "clips.jsonl"
"""The name that `layert2v-data build` gives to the list of accepted clips."""


def find_clips(source: Path) -> tuple[list[ClipFiles], list[BadClip]]:
    """Find the clips of a source, and those that cannot be read.

    Args:
        source: A clip's folder, a folder of such folders, a `.jsonl` file whose lines are
            VidLayer's, `{"clip": FOLDER}`, or descriptions as in `renders`, or a folder with such a
            file by the name of `LIST`.
    """
    clips: list[ClipFiles] = []
    bad: list[BadClip] = []
    if not source.exists():
        return clips, [BadClip(source, MISSING)]
    try:
        if _has_list(source):
            source /= LIST
        with reading(source):
            places = _lines(source) if source.is_file() else _folders(source)
    except BadClip as problem:
        return clips, [problem]
    for where, line in places:
        try:
            with reading(where):
                clips.append(_clip_of(where, line))
        except BadClip as problem:
            bad.append(problem)
    if not clips and not bad:
        bad.append(BadClip(source, "holds no clip: it is empty"))
    return clips, bad


def _folders(source: Path) -> list[tuple[Path, bytes | None]]:
    if _is_clip(source):
        return [(source, None)]
    return [(folder, None) for folder in _folders_in(source)]


def _folders_in(folder: Path) -> list[Path]:
    return [path for path in listed(folder) if path.is_dir()]


def _is_clip(folder: Path) -> bool:
    """Whether a folder looks like a clip, whole or not."""
    is_described = renders.find_description(folder) is not None
    return is_described or vidlayer.is_vidlayer_folder(folder) or holds_named_layers(folder)


def _has_list(folder: Path) -> bool:
    return folder.is_dir() and not _is_clip(folder) and (folder / LIST).is_file()


def _lines(source: Path) -> list[tuple[Path, bytes | None]]:
    if is_movie(source) or is_picture(source):
        raise BadClip(source, "is neither a folder of clips nor a .jsonl file; name one of these")
    content = read_list(source)
    if content.lstrip()[:1] == b"[" and b"\n[" not in content:
        raise BadClip(source, "is one JSON array; write one object to a line, without brackets")
    lines = enumerate(content.splitlines(), start=1)
    named = [(source.with_name(f"{source.name}:{number}"), line) for number, line in lines]
    return [(where, line) for where, line in named if line.strip()]


def _clip_of(where: Path, line: bytes | None) -> ClipFiles:
    return _clip_of_folder(where) if line is None else _clip_of_line(where, line)


def _clip_of_folder(folder: Path) -> ClipFiles:
    if not listed(folder):
        raise BadClip(folder, "is empty")
    description = renders.find_description(folder)
    if description is not None:
        return renders.from_folder(description)
    if (folder / "metadata.json").is_file():
        return vidlayer.from_folder(folder)
    inner = [LIST] if _has_list(folder) else [f.name for f in _folders_in(folder) if _is_clip(f)]
    if inner:
        raise BadClip(
            folder, f"is not a clip but holds clips, such as {inner[0]}; name this folder itself"
        )
    wanted = ", ".join((*renders.DESCRIPTIONS, "metadata.json"))
    raise BadClip(
        folder,
        f"has no captions: one of {wanted} is needed, such as a clip.txt with the lines "
        f"`background: a beach` and `foreground: a fox`",
    )


def _clip_of_line(where: Path, line: bytes) -> ClipFiles:
    text = decoded_text(where, line)
    try:
        read = parse_json(text)
    except RecursionError as failure:
        raise BadClip(where, "is not JSON: it is nested too deeply; correct it") from failure
    except ValueError as failure:
        raise BadClip(where, f"is not JSON: {failure}; correct the line") from failure
    if not isinstance(read, dict):
        raise BadClip(where, f"is {shortened(text)}, not a JSON object; correct the line")
    if "vid" in read:
        return vidlayer.from_line(where, where.parent, read)
    if "file_name" in read and "background" not in read:
        return _of_hub(where, read)
    if "clip" not in read and "background" not in read:
        raise BadClip(
            where,
            f"has the keys {', '.join(read) or 'none'}: a line holds VidLayer's keys (vid, entry, "
            f'...), {{"clip": FOLDER}}, or a description with background and another layer',
        )
    if "clip" not in read:
        return renders.from_mapping(where, where.parent, read)
    folder = where.parent / str(read["clip"])
    if not folder.is_dir():
        raise BadClip(where, f"names {read['clip']}, which is not a folder")
    return _clip_of_folder(folder)


def _of_hub(where: Path, read: dict[str, object]) -> ClipFiles:
    """Take a line of Hugging Face's metadata.jsonl that names a clip's folder, or explain it.

    Raises:
        BadClip: It names one file, which has no layers; or the folder is no clip.
    """
    folder = where.parent / str(read["file_name"])
    if folder.is_dir():
        clip = _clip_of_folder(folder)
        return replace(clip, full_caption=clip.full_caption or str(read.get("text") or ""))
    raise BadClip(
        where,
        f"is a line of Hugging Face's form: {read['file_name']} is one file with one text, but "
        f"clips have layers. Build clips from movies by `layert2v-data build`, or name folders of "
        f'layers: {{"clip": FOLDER}}; a line may also hold VidLayer\'s keys (vid, entry, ...) or a '
        f"description with background and another layer",
    )
