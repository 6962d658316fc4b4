"""The order of a folder's videos and the outcomes of their shots, as earlier calls left them.

`shots/` holds a file for each shot, named VIDEO-SHOT-DIGEST; `videos.json` lists the videos in the
order in which they came. The first of two repeats stays, so the order must not change from call to
call.
"""

import json
from collections.abc import Collection
from pathlib import Path
from typing import Any

from layert2v_training.engine.build_report import Outcome
from layert2v_training.engine.reasons import Reason

_ORDER = "videos.json"


def video_of(shot: Path) -> str:
    """Name the video of a shot's file, as `cuts.name_of` does."""
    return shot.stem.rsplit("-", 2)[0]


def digest_of(shot: Path) -> str:
    """Return the digest of video and recipe that a shot's file was made for."""
    return shot.stem.rsplit("-", 1)[1]


def shot_files(out: Path) -> list[Path]:
    """List the shots that a folder has outcomes of, by name."""
    return sorted((out / "shots").glob("*.json"))


def read_outcomes(path: Path) -> list[Outcome]:
    """Read what became of a shot."""
    return [_outcome_of(read) for read in json.loads(path.read_text())]


def _outcome_of(read: dict[str, Any]) -> Outcome:
    reasons = tuple(Reason(**reason) for reason in read["reasons"])
    return Outcome(**{**read, "reasons": reasons, "captions": tuple(read["captions"])})


def order_of(out: Path, videos: Collection[str]) -> list[str]:
    """Return all videos of a folder in the order in which they came, and remember it.

    Args:
        out: Folder of the build.
        videos: Names of this call's videos. New ones come last.
    """
    path = out / _ORDER
    known: list[str] = json.loads(path.read_text()) if path.is_file() else []
    # Folders of before this file was kept have shots only.
    built = (video_of(shot) for shot in shot_files(out))
    order = list(dict.fromkeys([*known, *(name for name in built if name not in videos), *videos]))
    partial = path.with_suffix(".part")
    partial.write_text(json.dumps(order, indent=1) + "\n")
    partial.replace(path)
    return order
