"""A shot taken apart: subjects, mattes, plate, and the figures a clip is judged by.

Shape letters: T frames, H, W, C channels. Codes are uint8 sRGB, pixels float32 sRGB in [0, 1].
"""

from collections.abc import Iterator
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from layert2v_training.data.clips import ClipForeground, LayeredClip, Pixels, flatten, straight
from layert2v_training.engine import scale
from layert2v_training.engine.cuts import CameraShot, Codes, camera_motion
from layert2v_training.engine.moving_subjects import Rectangle, Subject, follow, moving_regions
from layert2v_training.engine.plates import clean_plate, median_plate
from layert2v_training.engine.protocols import ClipCaptioner, PlatePainter, SubjectMatter
from layert2v_training.engine.reasons import Reason, ShotRejected
from layert2v_training.engine.recipe import BOX_PROMPTED, EngineRecipe
from layert2v_training.evaluation.metrics.steadiness import matte_area_flicker, matte_core_flicker

_FLOOR = 0.05
"""Alpha below which a matte is noise."""
_AGREEMENT = 0.4
"""Overlap (IoU) of matte and moving region below which the region itself becomes the matte."""
_LOOKS = 3
"""Number of plates that are looked at for each subject."""
_REACH = 9
"""Pixels beyond a moving region in which its matte is believed, at `scale.LINES`."""


@dataclass(frozen=True)
class Candidate:
    """A clip the engine made, with what the checker looks at."""

    name: str
    clip: LayeredClip
    figures: dict[str, float]


def candidates(
    shot: CameraShot,
    recipe: EngineRecipe,
    matter: SubjectMatter,
    captioner: ClipCaptioner,
    painter: PlatePainter | None = None,
) -> Iterator[Candidate]:
    """Take a shot apart into clips. Without a painter their plate is the median over time.

    A part of the shot in which nothing moves gives no clip. The others still do.

    Raises:
        ShotRejected: It is too short, its camera moves, or nothing moves in any part of it.
    """
    frames = shot.frames_THWC
    if len(frames) < recipe.num_frames:
        raise ShotRejected(
            "too short", f"too short: {len(frames)} frames, {recipe.num_frames} are needed"
        )
    motion = camera_motion(frames)
    if motion > recipe.most_camera:
        said = f"the camera moves {motion:.2f} pixels per frame: no clean plate"
        raise ShotRejected("the camera moves", said)
    regions_THW = moving_regions(frames, median_plate(frames))
    reach = scale.square(_REACH, frames.shape[1])
    near_THW = np.stack([cv2.dilate(r.astype(np.uint8), reach) > 0 for r in regions_THW])
    plate, unseen = clean_plate(frames, near_THW)
    shared = {
        "unseen": 0.0 if painter else unseen, "camera": motion, "fps": float(shot.fps),
    }  # fmt: skip
    count = min(len(frames) // recipe.num_frames, recipe.most_clips)
    windows = _windows(len(frames), recipe.num_frames, count)
    found = [(window, follow(regions_THW[window])) for window in windows]
    if not any(subjects for _, subjects in found):
        raise ShotRejected("nothing moves", "nothing moves in front of the camera")
    for number, (window, subjects) in enumerate(found):
        if not subjects:
            continue
        plates = plate[None]
        if painter is not None:
            words = captioner.background(plate)
            plates = painter.plates(frames[window], near_THW[window], words)
        clip, figures = _clip(
            frames[window], plates, near_THW[window], _grouped(subjects, recipe.most_layers),
            matter, captioner, can_miss=recipe.mattes not in BOX_PROMPTED,
        )  # fmt: skip
        yield Candidate(f"{shot.name}-{number:02d}", clip, {**shared, **figures})


def _windows(num_frames: int, length: int, count: int) -> list[slice]:
    """Spread windows of `length` frames evenly over a shot."""
    starts = [k * (num_frames - length) // max(count - 1, 1) for k in range(count)]
    return [slice(start, start + length) for start in starts]


def _grouped(subjects: list[Subject], most_layers: int) -> list[list[Subject]]:
    """Give the largest subjects layers of their own, the rest the farthest, back to front."""
    own = sorted(subjects[: most_layers - 1], key=lambda subject: subject.ground)
    rest = subjects[most_layers - 1 :]
    return ([rest] if rest else []) + [[subject] for subject in own]


def _clip(
    frames: Codes,
    plates: Codes,
    near_THW: NDArray[np.bool_],
    groups: list[list[Subject]],
    matter: SubjectMatter,
    captioner: ClipCaptioner,
    *,
    can_miss: bool,
) -> tuple[LayeredClip, dict[str, float]]:
    """Cut out each group; `can_miss`: the matter finds nothing where there is nothing."""
    full = frames.astype(np.float32) / 255
    background = np.broadcast_to(plates.astype(np.float32) / 255, full.shape).copy()
    behind, layers, by_difference = background, [], []
    found_twice, found = 0.0, 0.0
    for group in groups:
        alpha_THW = np.zeros(full.shape[:3], np.float32)
        words = []
        for subject in group:
            boxes: list[Rectangle | None] = [subject.boxes.get(t) for t in range(len(frames))]
            mattes_THW = matter.mattes(frames, boxes)
            own, share = _believed(mattes_THW, near_THW, boxes)
            if can_miss:
                twice, once = _found_in_plates(plates, mattes_THW, boxes, matter)
                found_twice, found = found_twice + twice, found + once
            alpha_THW = np.maximum(alpha_THW, own)
            by_difference.append(share)
            words.append(captioner.subject(frames, boxes))
        layer = ClipForeground(
            _colour(full, behind, alpha_THW), alpha_THW, " and ".join(dict.fromkeys(words))
        )
        behind = flatten(behind, [layer])
        layers.append(layer)
    clip = LayeredClip(full, background, captioner.background(plates[0]), tuple(layers))
    return clip, {
        **_figures(clip, behind),
        "by_difference": float(np.mean(by_difference)),
        "in_plate": found_twice / found if found else 0.0,
    }


def _found_in_plates(
    plates_THWC: Codes, mattes_THW: Pixels, boxes: list[Rectangle | None], matter: SubjectMatter
) -> tuple[float, float]:
    """Look for a subject where it should be gone: areas found in frame and plate, and in either."""
    seen = [t for t, box in enumerate(boxes) if box is not None]
    chosen = seen[:: -(-len(seen) // _LOOKS)]
    plates = np.stack([plates_THWC[min(t, len(plates_THWC) - 1)] for t in chosen])
    there_THW = matter.mattes(plates, [boxes[t] for t in chosen])
    both, either = (f(there_THW, mattes_THW[chosen]).sum() for f in (np.minimum, np.maximum))
    return float(both), float(either)


def _believed(
    alpha_THW: Pixels, near_THW: NDArray[np.bool_], boxes: list[Rectangle | None]
) -> tuple[Pixels, float]:
    """Keep a matte near what moves. Where it disagrees, take what moves. Count such frames."""
    believed, replaced = np.zeros_like(alpha_THW), []
    height = alpha_THW.shape[1]
    margin, feather = round(scale.pixels(_REACH, height)), scale.pixels(1, height)
    for t, box in enumerate(boxes):
        if box is not None:
            inside = np.zeros(near_THW.shape[1:], bool)
            inside[max(box[1] - margin, 0) : box[3] + margin,
                   max(box[0] - margin, 0) : box[2] + margin] = True  # fmt: skip
            gate = cv2.GaussianBlur((near_THW[t] & inside).astype(np.float32), (0, 0), 2 * feather)
            core = cv2.erode((near_THW[t] & inside).astype(np.uint8), scale.square(7, height))
            matte = alpha_THW[t] * gate
            union = ((matte > 0.5) | (core > 0)).sum()
            is_wrong = ((matte > 0.5) & (core > 0)).sum() < _AGREEMENT * union
            replaced.append(is_wrong)
            believed[t] = (
                cv2.GaussianBlur(core.astype(np.float32), (0, 0), feather) if is_wrong else matte
            )
    believed[believed < _FLOOR] = 0
    return believed, float(np.mean(replaced)) if replaced else 0.0


def _colour(full: Pixels, behind: Pixels, alpha_THW: Pixels) -> Pixels:
    """Solve full = colour x alpha + behind x (1 - alpha) for straight colour, extended beyond."""
    alpha = alpha_THW[..., None]
    premultiplied = np.clip(full - (1 - alpha) * behind, 0, alpha)
    return np.stack([straight(frame) for frame in np.concatenate([premultiplied, alpha], -1)])


def _figures(clip: LayeredClip, composite: Pixels) -> dict[str, float]:
    error = np.square(composite - clip.full_THWC).mean()
    cover_THW = 1 - np.prod([1 - layer.alpha_THW for layer in clip.foregrounds], axis=0)
    return {
        "recomposition": float(-10 * np.log10(max(float(error), 1e-9))),
        "cover": float(cover_THW.mean()),
        **_flicker(clip),
        "layers": float(len(clip.foregrounds)),
    }


def _flicker(clip: LayeredClip) -> dict[str, float]:
    """Give both figures of the foreground that flickers most; none without three frames.

    Source: docs/evaluation.md, T2. Both are second differences: steady motion is no flicker.
    """
    mattes = [layer.alpha_THW for layer in clip.foregrounds]
    measured = {
        "core_flicker": [matte_core_flicker(alpha_THW) for alpha_THW in mattes],
        "area_flicker": [matte_area_flicker(alpha_THW) for alpha_THW in mattes],
    }
    known = {name: [v for v in values if v is not None] for name, values in measured.items()}
    return {name: max(values) for name, values in known.items() if values}


def reasons_against(figures: dict[str, float], recipe: EngineRecipe) -> list[Reason]:
    """Say why a candidate must not be trained on, or nothing if it may."""
    least, most = recipe.cover
    checks = {
        "recomposition": (recipe.least_recomposition, np.inf),
        "cover": (least, most),
        "unseen": (0.0, recipe.most_unseen),
        "core_flicker": (0.0, recipe.most_core_flicker),
        "area_flicker": (0.0, recipe.most_area_flicker),
        "in_plate": (0.0, recipe.most_in_plate),
    }
    return [
        Reason(name, f"{name} is {figures[name]:.3g}, allowed is {low:g} to {high:g}")
        for name, (low, high) in checks.items()
        if name in figures and not low <= figures[name] <= high
    ]
