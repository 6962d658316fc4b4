"""The text beside a video: names of what it shows, or one plain caption.

As other trainers have it, a caption is `street.txt` beside `street.mp4`, or a line
`{"file_name": "street.mp4", "text": "a street"}` in `metadata.jsonl` of the same folder.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from layert2v_training.data.encodings import decoded_text, read_list, read_text
from layert2v_training.data.problems import BadClip
from layert2v_training.data.texts import parse_json, read_mapping

_NAMES = ("background", "subject")
_LIST = "metadata.jsonl"


@dataclass(frozen=True)
class Sidecar:
    """The content of a text. Fields that it lacks are empty."""

    background: str = ""
    subject: str = ""
    caption: str = ""
    """Caption of the whole video, a text without names, as other trainers write it."""


def sidecar(video: Path) -> Path:
    """Give the text that may lie beside a video. Its suffix may be of any case."""
    plain = video.with_suffix(".txt")
    if plain.is_file() or not video.parent.is_dir():
        return plain
    others = (path for path in sorted(video.parent.iterdir()) if path.stem == video.stem)
    return next((path for path in others if path.suffix.lower() == ".txt"), plain)


def read_sidecar(video: Path) -> Sidecar:
    """Read what lies beside a video: lines `background: ...`, `subject: ...`, or a caption.

    Raises:
        BadClip: It is no UTF-8, no JSON, or says something twice.
    """
    path = sidecar(video)
    listed = _listed(video)
    if not path.is_file():
        return Sidecar(caption=listed)
    if listed:
        where = video.with_name(_LIST)
        raise BadClip(where, f"names {video.name}, which has {path.name} too; keep one")
    text = read_text(path)
    names = [line.partition(":")[0].strip() for line in text.splitlines() if ":" in line]
    if not any(name in _NAMES for name in names):
        return Sidecar(caption=" ".join(text.split()))
    read = read_mapping(path)
    return Sidecar(str(read.get("background") or ""), str(read.get("subject") or ""))


def _listed(video: Path) -> str:
    """Find a video's caption in `metadata.jsonl` beside it, Hugging Face's form."""
    path = video.with_name(_LIST)
    if not path.is_file():
        return ""
    found = []
    for number, line in enumerate(read_list(path).splitlines(), start=1):
        where = path.with_name(f"{_LIST}:{number}")
        try:
            read = parse_json(decoded_text(where, line)) if line.strip() else {}
        except (ValueError, RecursionError) as failure:
            if isinstance(failure, BadClip):
                raise
            raise BadClip(where, f"is not JSON: {failure}; correct the line") from failure
        if not isinstance(read, dict):
            raise BadClip(where, "is not a JSON object; write one to a line, without brackets")
        if read.get("file_name") == video.name:
            found.append(_text_of(where, read, video))
    if len(found) > 1:
        raise BadClip(path, f"names {video.name} {len(found)} times; keep one line")
    return found[0] if found else ""


def _text_of(where: Path, line: Mapping[str, Any], video: Path) -> str:
    text = line.get("text")
    if not isinstance(text, str):
        raise BadClip(where, f"has no text for {video.name}; give it in the field text")
    return text
