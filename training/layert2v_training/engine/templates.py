"""Captions without a model: words for size and motion around names that a text file gives.

Beside `street.avi` may lie `street.txt` with `background: a street` and `subject: a pedestrian`,
or with one plain caption of the whole video.
"""

from collections.abc import Sequence
from pathlib import Path

from layert2v_training.engine.cuts import Codes
from layert2v_training.engine.moving_subjects import Rectangle
from layert2v_training.engine.redundancy import Telling
from layert2v_training.engine.sidecars import read_sidecar

_SMALL, _MOVED = 0.25, 0.08
"""Share of the picture's height below which a subject is small, and of its width or height that it
must cross to be said to move."""


class TemplateCaptioner:
    """Fills templates."""

    def __init__(self, video: Path) -> None:
        said = read_sidecar(video)
        self._background, self._subject = said.background, said.subject
        names = (said.background, said.subject, said.caption)
        self._names = ". ".join(name for name in names if name)

    def telling(self, captions: Sequence[str]) -> Telling:
        """Give the names alone: what templates say of motion and light is the same everywhere."""
        return Telling(self._names, of_video=True)

    def background(self, plate_HWC: Codes) -> str:
        """Caption a clean plate by its light, where no text names it."""
        light = "bright" if plate_HWC.mean() > 110 else "dark"
        return f"{self._background or f'a {light} place'}, the camera stands still"

    def subject(self, frames_THWC: Codes, boxes: list[Rectangle | None]) -> str:
        """Caption a subject by its name, size and motion."""
        height, width = frames_THWC.shape[1:3]
        seen = [box for box in boxes if box is not None]
        is_small = max(box[3] - box[1] for box in seen) < _SMALL * height
        first, last = seen[0], seen[-1]
        x = (last[0] + last[2] - first[0] - first[2]) / 2 / width
        y = (last[3] - first[3]) / height
        if max(abs(x), abs(y)) < _MOVED:
            motion = "staying in place"
        elif abs(x) >= abs(y):
            motion = "moving to the right" if x > 0 else "moving to the left"
        else:
            motion = "coming closer" if y > 0 else "moving away"
        name = self._subject or "a moving subject"
        return f"{name} {'in the distance ' if is_small else ''}{motion}"
