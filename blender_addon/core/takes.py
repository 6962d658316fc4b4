# SPDX-License-Identifier: GPL-3.0-or-later
"""Takes on disk. A folder holds every layer's frames and a `take.json` that describes them."""

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from layert2v_client import Artifact, ArtifactFormat, ArtifactKind, Shot
from layert2v_words import UnknownWords

from .paths import TAKE_NAME
from .shots import known_values, shot_from_json, shot_to_json

SCHEMA = 1
"""Version of `take.json` and of `strip["layert2v"]`."""


class UnreadableTake(Exception):
    """Raised when a folder holds no whole take. Says what is missing and the remedy."""


@dataclass(frozen=True)
class TakeFile:
    """One file of a take."""

    path: str
    """Path relative to the take's folder, with `/`."""
    sha256: str
    """SHA-256 of the content, 64 hexadecimal digits."""
    kind: ArtifactKind
    """Kind of the content."""
    format: ArtifactFormat
    """Format of the file. PNG is straight sRGB. EXR is premultiplied, scene-linear Rec. 709."""
    layer_index: int
    """Place in the stack. 0 is the background. -1 stands for full and manifest."""
    frame_index: int
    """Number of the frame, from 0. -1 if the file is no frame."""

    @classmethod
    def of(cls, artifact: Artifact) -> "TakeFile":
        """Describe a downloaded artifact."""
        return cls(
            artifact.path,
            artifact.sha256,
            artifact.kind,
            artifact.format,
            artifact.layer_index,
            artifact.frame_index,
        )


@dataclass(frozen=True)
class Take:
    """One attempt at a shot, fetched whole."""

    folder: Path
    """Folder of the take."""
    number: int
    """Number of the take in its shot, from 1."""
    job: str
    """Name of the job that made the take, `jobs/{job}`."""
    shot_uid: str
    """Id of the shot to which the take belongs."""
    asked: Shot
    """Shot as asked for."""
    made: Shot
    """Shot with all defaults filled in."""
    fps: float
    """Frames per second. 0 means one frame per scene frame."""
    files: tuple[TakeFile, ...]
    """Files of the take, in path order."""
    empty_frames: tuple[int, ...] = ()
    """Count of frames with an empty matte for each foreground, in order. () if unknown."""
    unknown_words: tuple[UnknownWords, ...] = ()
    """Words in the prompts of new layers that the model did not know."""

    def num_empty(self, layer_index: int) -> int:
        """Count the frames in which a foreground is missing. 0 if unknown or no foreground."""
        is_known = 0 < layer_index <= len(self.empty_frames)
        return self.empty_frames[layer_index - 1] if is_known else 0

    def is_empty(self, layer_index: int) -> bool:
        """Whether a foreground is in no frame."""
        return 0 < self.made.num_frames <= self.num_empty(layer_index)

    def notice(self, layer_index: int) -> str:
        """Say where a layer is missing and which words the model did not know.

        Each sentence has a line. The text is empty if there is no such sentence.
        """
        count, frames = self.num_empty(layer_index), self.made.num_frames
        lines = [f"The foreground is missing in {count} of {frames} frames."] if count else []
        if self.is_empty(layer_index):
            empty = f"The foreground is empty in all {frames} frames."
            lines = [f"{empty} Try another seed or reword the prompt."]
        lines += [
            f"{each.message}." for each in self.unknown_words if each.layer_index == layer_index
        ]
        return "\n".join(lines)

    def frames(
        self, kind: ArtifactKind, layer_index: int, file_format: ArtifactFormat
    ) -> tuple[Path, ...]:
        """Give a layer's files in frame order. Empty if the take has none of the format."""
        found = [
            file
            for file in self.files
            if (file.kind, file.layer_index, file.format) == (kind, layer_index, file_format)
        ]
        ordered = sorted(found, key=lambda file: file.frame_index)
        return tuple(self.folder.joinpath(*file.path.split("/")) for file in ordered)

    def save(self) -> None:
        """Write `take.json` into the folder."""
        values: dict[str, Any] = {
            "schema": SCHEMA,
            "number": self.number,
            "job": self.job,
            "shot_uid": self.shot_uid,
            "asked": shot_to_json(self.asked),
            "made": shot_to_json(self.made),
            "fps": self.fps,
            "empty_frames": self.empty_frames,
            "unknown_words": [vars(each) for each in self.unknown_words],
            "files": [vars(file) for file in self.files],
        }
        text = json.dumps(values, indent=1)
        (self.folder / TAKE_NAME).write_text(text, encoding="utf-8")


def load_take(folder: Path, *, is_checked: bool = True) -> Take:
    """Read a take and, unless `is_checked` is False, look for each of its files.

    Raises:
        UnreadableTake: There is no `take.json`, it cannot be read, or a frame is missing.
    """
    path = folder / TAKE_NAME
    try:
        take = _take_from_json(folder, json.loads(path.read_text(encoding="utf-8")))
    except (OSError, ValueError, KeyError, TypeError) as error:
        reason = error.strerror if isinstance(error, OSError) else error
        raise UnreadableTake(
            f"{path} cannot be read ({reason}). Restore the folder from a backup, or generate the "
            "shot again."
        ) from None
    if is_checked:
        check_files(take, [folder.joinpath(*file.path.split("/")) for file in take.files])
    return take


def check_files(take: Take, paths: Iterable[Path]) -> None:
    """Check that files of a take exist.

    Raises:
        UnreadableTake: One of them is missing.
    """
    for path in paths:
        if not path.is_file():
            lost = path.relative_to(take.folder).as_posix()
            raise UnreadableTake(
                f"The take in {take.folder} has lost '{lost}'. Restore it from a backup, or "
                "regenerate the layer."
            )


def _take_from_json(folder: Path, values: Mapping[str, Any]) -> Take:
    """Read a take of this version or of a newer version, whose additions are ignored."""
    return Take(
        folder=folder,
        number=int(values["number"]),
        job=values["job"],
        shot_uid=values["shot_uid"],
        asked=shot_from_json(values["asked"]),
        made=shot_from_json(values["made"]),
        fps=values.get("fps") or 0.0,
        files=tuple(map(_file_from_json, filter(_is_known_file, values["files"]))),
        empty_frames=_numbers(values.get("empty_frames")),
        unknown_words=_unknown_words_from_json(values.get("unknown_words")),
    )


def _is_known_file(values: Any) -> bool:
    """Whether this version knows a file's kind and format."""
    return (
        isinstance(values, Mapping)
        and values.get("kind") in tuple(ArtifactKind)
        and values.get("format") in tuple(ArtifactFormat)
    )


def _file_from_json(values: Mapping[str, Any]) -> TakeFile:
    kind, stored = ArtifactKind(values["kind"]), ArtifactFormat(values["format"])
    return TakeFile(**{**known_values(TakeFile, values), "kind": kind, "format": stored})


def _numbers(values: Any) -> tuple[int, ...]:
    """Read whole numbers by place, or none if one of them is not understood."""
    is_known = isinstance(values, list) and all(isinstance(each, int) for each in values)
    return tuple(values) if is_known else ()


def _unknown_words_from_json(rows: Any) -> tuple[UnknownWords, ...]:
    """Read the rows that have a layer and a sentence."""
    return tuple(
        UnknownWords(
            layer_index=row["layer_index"],
            words=_text(row.get("words")),
            nearest=tuple(filter(None, map(_text, _rows(row.get("nearest"))))),
            message=row["message"],
        )
        for row in _rows(rows)
        if isinstance(row, Mapping)
        and isinstance(row.get("layer_index"), int)
        and isinstance(row.get("message"), str)
    )


def _rows(values: Any) -> list[Any]:
    return values if isinstance(values, list) else []


def _text(value: Any) -> str:
    return value if isinstance(value, str) else ""


def takes_of_shot(shot_folder: Path, *, is_checked: bool = True) -> list[Take]:
    """List a shot's readable takes by number, then folder. See `load_take` for `is_checked`."""
    takes = []
    for path in sorted(shot_folder.glob(f"take_*/{TAKE_NAME}")):
        try:
            takes.append(load_take(path.parent, is_checked=is_checked))
        except UnreadableTake:
            continue
    return sorted(takes, key=lambda take: (take.number, take.folder.name))
