"""Known subjects in pictures, recognised by the sprites that scenes are composed of.

No model is learned. The nearest sprite names a foreground. A search for the sprite's drawing
everywhere tells whether a subject is in a picture at all.

Shape letters: T frames, C channels, H, W; N sprites, M mirrorings, P numbers of a small picture.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
import torch
from PIL import Image
from torch import Tensor
from torch.nn.functional import interpolate

from layert2v_model.finishing.fill import Floats
from layert2v_model.finishing.frames import frames_of
from layert2v_model.stack import Layer, Stack
from layert2v_training.evaluation.metrics.take_figures import Values
from layert2v_training.evaluation.prompts import ShotLine
from layert2v_training.scenes.subjects import CORE_SUBJECTS, SUBJECTS

SMALL = 24
"""Sprites are compared at so many pixels a side."""
_INSIDE = 0.3
"""Alpha above which a pixel belongs to what is compared."""
_HEIGHTS = (0.35, 0.45, 0.55, 0.65, 0.75)
"""Heights of a sprite that is looked for, as shares of the picture's."""
FOUND = 0.63
"""Correlation with a sprite's drawing at which it counts as there. Source: 24 held-out scenes of
96x64, November 2026: the subject in the full video .70 to .97, in its plate .21 to .57."""


@dataclass(frozen=True, eq=False)
class _Sprite:
    caption: str
    rgba_HWC: Floats
    """Straight."""


class Oracle:
    """Tells known subjects apart; made for the subjects that a run's prompts name."""

    def __init__(self, assets: Path, lines: Iterable[ShotLine]) -> None:
        """Read the sprites.

        Args:
            assets: Folder that `fetch_assets` filled.
            lines: The run's. If they name core subjects only, the choice is among those.
        """
        named = {subject_of(prompt) for line in lines for prompt in line.foregrounds} - {None}
        self.subjects = CORE_SUBJECTS if named <= set(CORE_SUBJECTS) else tuple(SUBJECTS.values())
        codes = {caption: code for code, caption in SUBJECTS.items()}
        paths = [assets / "sprites" / f"{codes[subject]}.png" for subject in self.subjects]
        self._sprites = {s: _read(s, path) for s, path in zip(self.subjects, paths, strict=True)}
        self._small_NMP = torch.stack([_both_ways(x.rgba_HWC) for x in self._sprites.values()])

    def measure(self, take: Stack, line: ShotLine) -> Values:
        """Tell whether each foreground shows its subject and the background shows none of them.

        Empty where no prompt names a known subject.
        """
        known = [
            (subject, layer)
            for prompt, layer in zip(line.foregrounds, take.foregrounds, strict=True)
            if (subject := subject_of(prompt)) in self._sprites
        ]
        if not known:
            return {}
        right = [self.nearest(layer) == subject for subject, layer in known]
        in_full = [self.finds(str(subject), take.full_TCHW) for subject, _ in known]
        in_plate = [self.finds(str(subject), take.background.rgb_TCHW) for subject, _ in known]
        routed = [is_right and not leaks for is_right, leaks in zip(right, in_plate, strict=True)]
        return {
            "routing": float(np.mean(routed)),
            "right_subject": float(np.mean(right)),
            "subject_in_full": float(np.mean(in_full)),
            "subject_in_background": float(np.mean(in_plate)),
        }

    def nearest(self, layer: Layer) -> str:
        """Name the sprite nearest to a foreground's middle frame."""
        middle = len(layer.alpha_T1HW) // 2
        alpha_1HW = layer.alpha_T1HW[middle].float().cpu()
        premultiplied_CHW = layer.rgb_TCHW[middle].float().cpu() * alpha_1HW
        made_P = _small_picture(torch.cat([premultiplied_CHW, alpha_1HW]))
        distances_N = (self._small_NMP - made_P).square().mean(2).amin(1)
        return self.subjects[int(distances_N.argmin())]

    def finds(self, subject: str, frames_TCHW: Tensor) -> bool:
        """Tell whether a subject's drawing is in the middle frame, at any place and size."""
        return self.likeness(subject, frames_TCHW) > FOUND

    def likeness(self, subject: str, frames_TCHW: Tensor) -> float:
        """Largest correlation of a subject's drawing with any part of the middle frame."""
        picture_HWC = np.moveaxis(frames_of(frames_TCHW)[len(frames_TCHW) // 2], 0, 2)
        picture_HWC = np.ascontiguousarray(picture_HWC)
        rgba_HWC = self._sprites[subject].rgba_HWC
        best = [
            _best_match(picture_HWC, drawing, round(share * len(picture_HWC)))
            for share in _HEIGHTS
            for drawing in (rgba_HWC, rgba_HWC[:, ::-1])
        ]
        return max(best)


def subject_of(prompt: str) -> str | None:
    """Find the known subject that a prompt begins with, the longest if there are several."""
    named = [s for s in SUBJECTS.values() if prompt == s or prompt.startswith(f"{s} ")]
    return max(named, key=len) if named else None


def _read(caption: str, path: Path) -> _Sprite:
    rgba_HWC = np.asarray(Image.open(path).convert("RGBA"), np.float32) / 255
    rows, columns = np.nonzero(rgba_HWC[..., 3] > _INSIDE)
    cut = (slice(rows.min(), rows.max() + 1), slice(columns.min(), columns.max() + 1))
    return _Sprite(caption, rgba_HWC[cut])


def _both_ways(rgba_HWC: Floats) -> Tensor:
    """A sprite and its mirror image as small premultiplied pictures (M, P)."""
    rgba = torch.from_numpy(rgba_HWC.copy()).permute(2, 0, 1)
    rgba = torch.cat([rgba[:3] * rgba[3:], rgba[3:]])
    return torch.stack([_small_picture(rgba), _small_picture(rgba.flip(2))])


def _small_picture(rgba_CHW: Tensor) -> Tensor:
    """Crop a premultiplied picture (4, H, W) in [0, 1] to its alpha and shrink it: (P,)."""
    rows, columns = (rgba_CHW[3] > _INSIDE).nonzero(as_tuple=True)
    if not len(rows):
        return torch.zeros(4 * SMALL * SMALL)
    cut = rgba_CHW[:, rows.min() : rows.max() + 1, columns.min() : columns.max() + 1]
    return interpolate(cut[None], (SMALL, SMALL), mode="area").flatten()


def _best_match(picture_HWC: Floats, rgba_HWC: Floats, height: int) -> float:
    """Largest correlation of a drawing, scaled to a height in pixels, inside its own outline."""
    scale = height / len(rgba_HWC)
    width = max(1, round(rgba_HWC.shape[1] * scale))
    if height < 2 or height > len(picture_HWC) or width > picture_HWC.shape[1]:
        return 0.0
    premultiplied = np.dstack([rgba_HWC[..., :3] * rgba_HWC[..., 3:], rgba_HWC[..., 3]])
    small_HWC = cv2.resize(premultiplied, (width, height), interpolation=cv2.INTER_AREA)
    alpha_HW1 = small_HWC[..., 3:]
    drawing_HWC = small_HWC[..., :3] / np.maximum(alpha_HW1, 1e-3)
    mask_HWC = np.repeat(alpha_HW1, 3, axis=2)
    scores = cv2.matchTemplate(picture_HWC, drawing_HWC, cv2.TM_CCOEFF_NORMED, mask=mask_HWC)
    return float(scores[np.isfinite(scores)].max(initial=0.0))
