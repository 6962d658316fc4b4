"""The text beside a video: names of what it shows, or one plain caption."""

from dataclasses import dataclass
from pathlib import Path

from layert2v_training.data.encodings import read_text
from layert2v_training.data.texts import read_mapping

_NAMES = ("background", "subject")


@dataclass(frozen=True)
class Sidecar:
    """What a text says; empty where it says nothing."""

    background: str = ""
    subject: str = ""
    caption: str = ""
    """Of the whole video, as other trainers write it: a text without names."""


def sidecar(video: Path) -> Path:
    """Give the text that may lie beside a video."""
    return video.with_suffix(".txt")


def read_sidecar(video: Path) -> Sidecar:
    """Read `street.txt` beside `street.mp4`: lines `background: ...`, `subject: ...`, or a caption.

    Raises:
        BadClip: It is no UTF-8, or names something twice.
    """
    path = sidecar(video)
    if not path.is_file():
        return Sidecar()
    text = read_text(path)
    names = [line.partition(":")[0].strip() for line in text.splitlines() if ":" in line]
    if not any(name in _NAMES for name in names):
        return Sidecar(caption=" ".join(text.split()))
    read = read_mapping(path)
    return Sidecar(str(read.get("background") or ""), str(read.get("subject") or ""))
