"""The background's share of finishing: a plate without outlines.

It equals the full video where it is clearly uncovered and is seamless below and beside the
foregrounds.

Shape letters: T frames, C channels, H, W, N samples. Arrays are float32 numpy,
display-referred sRGB.
Lengths are units of `fill.LINES`. Constants were chosen on the ten published samples (336x192,
`docs/finishing.md`) by outline ratio and by eye.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import cv2
import numpy as np

from layert2v_model.fill import (
    Box,
    Floats,
    box_around,
    distance_to,
    enlarged,
    extend,
    pixels_per_unit,
    ramp,
    reduced,
)
from layert2v_model.frames import each_frame

COVERED = 0.05
"""Coverage above which a pixel counts as covered; H.264 noise in empty mattes stays below."""
KNOWN_FROM, KNOWN_TO = 2.5, 4.5
"""Distances to the covered region between which the plate begins to be the full video."""
_SAFE_FROM, _SAFE_TO = 6.0, 12.0
"""Distances between which a difference is believed whatever its size."""
_CONTAMINATION = 0.04
"""Nearer than that, a difference is believed if it is within about this of the farther ones:
mattes are often too tight, and the subject's own rim must not tint the plate."""
_STEADY_FRAMES = 2.0
"""Standard deviation in frames of the part of the hidden correction that is shared in time."""
_MAX_TONE = 0.25
"""Most that the tone match may move a value: beyond it is extrapolation."""
_TONE_SAMPLES = 20000
"""Pixels of the tone fit, evenly spaced: more did not change its third digit."""
_FEWEST_SAMPLES = 64
"""Pixels without which there is no tone fit: five times its unknowns."""


@dataclass(frozen=True, eq=False)
class _Seen:
    """What a frame shows of the background around the foregrounds, reduced to about units."""

    background_CHW: Floats
    """As generated."""
    difference_CHW: Floats
    """What it lacks where known."""
    known_HW: Floats
    """How clearly it is seen (`known_plate`)."""
    distance_HW: Floats
    """To the covered region, in units, at most `_SAFE_TO`."""


def known_plate(coverage_HW: Floats) -> tuple[Floats, Floats]:
    """How clearly each pixel of a frame shows the background, in [0, 1]; distance to what covers.

    The distance is in units and at most `_SAFE_TO`.
    """
    distance_HW = distance_to(coverage_HW > COVERED, _SAFE_TO)
    return ramp(distance_HW, KNOWN_FROM, KNOWN_TO), distance_HW


def correct_plate(
    background_TCHW: Floats,
    difference_TCHW: Floats,
    coverage_THW: Floats,
    num_threads: int | None = None,
) -> None:
    """Extend the difference between background and full video smoothly under the foregrounds.

    The difference is first explained by one colour transform for the shot, which also restores
    contrast below the foregrounds; what remains is extended by a membrane per frame around a part
    that is smooth in time, so that lifting a foreground shows neither a seam nor a flicker.

    Args:
        background_TCHW: The background as generated; corrected in place around and below the
            foregrounds. Beyond that nothing is hidden and nothing is done. Stays in [0, 1].
        difference_TCHW: What it lacks; read only where it is uncovered.
        coverage_THW: Union of all foregrounds' alphas.
        num_threads: As for `each_frame`.
    """
    num_frames, _, height, _ = background_TCHW.shape
    box = box_around((coverage_THW > COVERED).any(axis=0), _SAFE_TO + KNOWN_TO)
    if box is None:
        return
    unit = pixels_per_unit(height)
    backgrounds, differences = background_TCHW[..., *box], difference_TCHW[..., *box]
    looks = each_frame(
        lambda t: _look(backgrounds[t], differences[t], coverage_THW[t], box, unit),
        num_frames,
        num_threads,
    )
    move_34 = _tone_match([seen for _, seen in looks])
    fill_TCHW = _hidden_correction([_after_tone(seen, move_34) for _, seen in looks], num_threads)

    def correct(t: int) -> None:
        known_HW = looks[t][0]
        correction_CHW = _tone_moves(backgrounds[t], move_34)
        correction_CHW += enlarged(fill_TCHW[t], *known_HW.shape)
        correction_CHW += known_HW * (differences[t] - correction_CHW)
        correction_CHW += backgrounds[t]
        np.clip(correction_CHW, 0, 1, out=backgrounds[t])

    each_frame(correct, num_frames, num_threads)


def _look(
    background_CHW: Floats, difference_CHW: Floats, coverage_HW: Floats, box: Box, unit: float
) -> tuple[Floats, _Seen]:
    """The weight of what is known inside the box, and all that the fit and the membrane need."""
    known_HW, distance_HW = known_plate(coverage_HW)
    known_HW, shrink = np.ascontiguousarray(known_HW[box]), max(1, int(unit))
    weights_HW = reduced(known_HW, shrink)
    mean_CHW = reduced(difference_CHW * known_HW, shrink) / np.maximum(weights_HW, np.float32(1e-6))
    distance_HW = reduced(np.ascontiguousarray(distance_HW[box]), shrink)
    background_CHW = reduced(np.ascontiguousarray(background_CHW), shrink)
    return known_HW, _Seen(background_CHW, mean_CHW, weights_HW, distance_HW)


def _after_tone(seen: _Seen, move_34: Floats) -> _Seen:
    """What is still lacking after the colour transform."""
    moves_CHW = _tone_moves(seen.background_CHW, move_34)
    return replace(seen, difference_CHW=seen.difference_CHW - moves_CHW)


def _hidden_correction(frames: Sequence[_Seen], num_threads: int | None) -> Floats:
    """A membrane through the differences that are believed, around what is smooth in time."""
    trust = each_frame(lambda t: _trust(frames[t]), len(frames), num_threads)

    def membrane(t: int) -> Floats:
        return extend(frames[t].difference_CHW, trust[t])

    fill_TCHW = np.stack(each_frame(membrane, len(frames), num_threads))
    if len(frames) == 1:
        return fill_TCHW
    steady_TCHW = _blurred_in_time(fill_TCHW)

    def meet_surroundings(t: int) -> Floats:
        return steady_TCHW[t] + extend(frames[t].difference_CHW - steady_TCHW[t], trust[t])

    return np.stack(each_frame(meet_surroundings, len(frames), num_threads))


def _trust(seen: _Seen) -> Floats:
    """Weight of each known difference as a source for the hidden ones."""
    safe_HW = ramp(seen.distance_HW, _SAFE_FROM, _SAFE_TO)
    if not safe_HW.any():
        return seen.known_HW
    deviation_CHW = seen.difference_CHW - extend(seen.difference_CHW, safe_HW)
    deviation_CHW *= deviation_CHW
    deviation_HW = cv2.blur(deviation_CHW.sum(axis=0) / 3, (3, 3))
    fits_HW = np.exp(-deviation_HW / np.float32(_CONTAMINATION**2))
    return seen.known_HW * np.maximum(safe_HW, fits_HW)


def _tone_match(frames: Sequence[_Seen]) -> Floats:
    """The affine colour move, (3, 4), that best takes the background to the full video.

    Source:
        Iteratively reweighted least squares towards the L1 norm (Lawson 1961), with a ridge of
        1e-3 per sample towards no move, so that few or flat samples change little.
    """
    known = [np.flatnonzero(seen.known_HW > 0.99) for seen in frames]
    step = max(1, sum(len(indices) for indices in known) // _TONE_SAMPLES)
    pairs = list(zip(frames, (indices[::step] for indices in known), strict=True))
    background_3N = np.hstack([x.background_CHW.reshape(3, -1)[:, i] for x, i in pairs])
    wanted_N3 = np.hstack([x.difference_CHW.reshape(3, -1)[:, i] for x, i in pairs]).T
    num_samples = len(wanted_N3)
    if num_samples < _FEWEST_SAMPLES:
        return np.zeros((3, 4), np.float32)
    samples_N4 = np.hstack([background_3N.T.astype(np.float64), np.ones((num_samples, 1))])
    ridge_44 = 1e-3 * num_samples * np.diag([1.0, 1.0, 1.0, 0.0])
    weights_N1 = np.ones((num_samples, 1))
    for _ in range(4):
        normal_44 = (samples_N4 * weights_N1).T @ samples_N4 + ridge_44
        move_43 = np.linalg.solve(normal_44, (samples_N4 * weights_N1).T @ wanted_N3)
        errors_N1 = np.linalg.norm(wanted_N3 - samples_N4 @ move_43, axis=1, keepdims=True)
        weights_N1 = 1 / np.maximum(errors_N1, 0.02)
    return move_43.T.astype(np.float32)


def _tone_moves(background_CHW: Floats, move_34: Floats) -> Floats:
    """How far the colour transform moves each value."""
    moves_3N = move_34[:, :3] @ background_CHW.reshape(3, -1)
    moves_3N += move_34[:, 3:]
    np.clip(moves_3N, -_MAX_TONE, _MAX_TONE, out=moves_3N)
    return moves_3N.reshape(background_CHW.shape)


def _blurred_in_time(frames_TCHW: Floats) -> Floats:
    """Gaussian over frames; at the ends of the shot over the frames there are."""
    num_frames = len(frames_TCHW)
    steps = np.arange(num_frames)
    weights_TT = np.exp(-((steps[:, None] - steps) ** 2) / (2 * _STEADY_FRAMES**2))
    weights_TT = np.float32(weights_TT / weights_TT.sum(axis=1, keepdims=True))
    return (weights_TT @ frames_TCHW.reshape(num_frames, -1)).reshape(frames_TCHW.shape)
