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

from layert2v_model.finishing.fill import (
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
from layert2v_model.finishing.frames import each_frame

COVERED = 0.05
"""Coverage above which a pixel counts as covered. H.264 noise in empty mattes stays below."""
KNOWN_FROM, KNOWN_TO = 4.0, 6.0
"""Distances to the covered region between which the plate begins to be the full video."""
_SAFE_FROM, _SAFE_TO = 6.0, 12.0
"""Distances between which a difference stops telling about the hidden colours. Nearer, it is
believed at any size. Published backgrounds are the flatter the farther from the subject."""
_CONTAMINATION = 0.04
"""Nearer than that, a difference is believed if it is within about this of the farther ones. Mattes
are often too tight, and the subject's own rim must not tint the plate."""
_DETAIL = 2.5
"""Standard deviation in reduced pixels below which a difference is detail, and stays where it is:
extended, it would streak."""
_STEADY_FRAMES = 6.0
"""Standard deviation in frames of the part of the hidden correction that is shared in time."""
_ALIKE = 0.01
"""The difference of one frame from the others where all show the same. Samples at rest have 0.002
to 0.005 (median), and a sample that the camera follows has 0.02."""
_SEAM_DEPTH = 8.0
"""Distance under the foreground at which a third is left of a correction that only one frame asks
for. It hides the seam, and deeper it would flicker."""
_MAX_TONE = 0.25
"""Most that the tone match may move a value: beyond it is extrapolation."""
_TONE_SAMPLES = 20000
"""Pixels of the tone fit, evenly spaced: more did not change its third digit."""
_FEWEST_SAMPLES = 64
"""Pixels without which there is no tone fit: five times its unknowns."""


@dataclass(frozen=True, eq=False)
class _Seen:
    """The background that a frame shows around the foregrounds, reduced to about units."""

    background_CHW: Floats
    """The background as generated."""
    difference_CHW: Floats
    """The difference that it lacks, where that is known."""
    known_HW: Floats
    """The visibility of each pixel (`known_plate`)."""
    distance_HW: Floats
    """Distance to the covered region, in units, at most `_SAFE_TO`."""
    seam_HW: Floats
    """Share of the seam's correction that reaches so deep under the foregrounds."""


def known_plate(coverage_HW: Floats) -> tuple[Floats, Floats]:
    """Compute how clearly pixels show the background, in [0, 1], and their distance to the cover.

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
    contrast below the foregrounds. The rest comes from other frames where they show it, and is
    extended by a membrane. Each frame bends the membrane at its border to meet its own
    surroundings, so that lifting a foreground shows neither a seam nor a flicker.

    Args:
        background_TCHW: The background as generated; corrected in place around and below the
            foregrounds. Beyond that nothing is hidden and nothing is done. Stays in [0, 1].
        difference_TCHW: Difference that it lacks. It is read only where it is uncovered.
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
    is_hidden_HW = (weights_HW < 0.5).astype(np.uint8)
    depth_HW = cv2.distanceTransform(is_hidden_HW, cv2.DIST_L2, cv2.DIST_MASK_5)
    seam_HW = np.exp(depth_HW / np.float32(-_SEAM_DEPTH * unit / shrink))
    return known_HW, _Seen(background_CHW, mean_CHW, weights_HW, distance_HW, seam_HW)


def _after_tone(seen: _Seen, move_34: Floats) -> _Seen:
    """The difference that remains after the colour transform."""
    moves_CHW = _tone_moves(seen.background_CHW, move_34)
    return replace(seen, difference_CHW=seen.difference_CHW - moves_CHW)


def _hidden_correction(frames: Sequence[_Seen], num_threads: int | None) -> Floats:
    """A membrane that is shared in time, bent at its rim to each frame's own surroundings."""

    def believed(t: int) -> tuple[Floats, Floats]:
        trust_HW = _trust(frames[t])
        return _without_detail(frames[t].difference_CHW, trust_HW), trust_HW

    pairs = each_frame(believed, len(frames), num_threads)
    lack_TCHW, trust_THW = (np.stack(arrays) for arrays in zip(*pairs, strict=True))
    shared_TCHW, weight_THW = _shared_in_time(lack_TCHW, trust_THW)

    def meet_surroundings(t: int) -> Floats:
        fill_CHW = extend(shared_TCHW[t], weight_THW[t])
        seam_CHW = extend(lack_TCHW[t] - fill_CHW, trust_THW[t])
        # Where a frame is unlike the others, by a camera or a light, it is its own best witness.
        alike_HW = np.exp((seam_CHW**2).mean(axis=0) / np.float32(-(_ALIKE**2)))
        seam_CHW *= 1 - alike_HW * (1 - frames[t].seam_HW)
        fill_CHW += seam_CHW
        return fill_CHW

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


def _without_detail(difference_CHW: Floats, trust_HW: Floats) -> Floats:
    """The mean around each pixel of the differences that are believed."""
    weight_HW = cv2.GaussianBlur(trust_HW, (0, 0), _DETAIL)
    mean_CHW = difference_CHW * trust_HW
    for plane_HW in mean_CHW:
        cv2.GaussianBlur(plane_HW, (0, 0), _DETAIL, dst=plane_HW)
    mean_CHW /= np.maximum(weight_HW, np.float32(1e-4))
    return mean_CHW


def _shared_in_time(values_TCHW: Floats, trust_THW: Floats) -> tuple[Floats, Floats]:
    """The colour of a pixel in the frames around each frame, on average, and how well they show it.

    A pixel that one frame shows is known. One that all frames show badly is not.
    """
    num_frames = len(values_TCHW)
    steps = np.arange(num_frames)
    weights_TT = np.float32(np.exp(-((steps[:, None] - steps) ** 2) / (2 * _STEADY_FRAMES**2)))

    def in_time(planes: Floats) -> Floats:
        return (weights_TT @ planes.reshape(num_frames, -1)).reshape(planes.shape)

    weight_THW = np.maximum(in_time(trust_THW), np.float32(1e-6))
    mean_TCHW = in_time(values_TCHW * trust_THW[:, None])
    mean_TCHW /= weight_THW[:, None]
    return mean_TCHW, in_time(trust_THW**2) / weight_THW


def _tone_match(frames: Sequence[_Seen]) -> Floats:
    """The colour transform, (3, 4), that best takes the background near what is hidden to the full.

    Of each value it moves the root times an affine function of the colour (`_tone_moves`).

    Source:
        Iteratively reweighted least squares towards the L1 norm (Lawson 1961), with a ridge of
        1e-3 per sample towards no move, so that few or flat samples change little.
    """
    is_near = [(seen.known_HW > 0.99) & (seen.distance_HW < _SAFE_TO) for seen in frames]
    indices = [np.flatnonzero(is_near_HW) for is_near_HW in is_near]
    step = max(1, sum(map(len, indices)) // _TONE_SAMPLES)
    pairs = [(seen, index_N[::step]) for seen, index_N in zip(frames, indices, strict=True)]
    colour_3N = np.hstack([x.background_CHW.reshape(3, -1)[:, i] for x, i in pairs])
    wanted_3N = np.hstack([x.difference_CHW.reshape(3, -1)[:, i] for x, i in pairs])
    near_N = 1 - ramp(np.hstack([x.distance_HW.ravel()[i] for x, i in pairs]), _SAFE_FROM, _SAFE_TO)
    if len(near_N) < _FEWEST_SAMPLES:
        return np.zeros((3, 4), np.float32)
    return _robust_fit(_tone_terms(colour_3N), wanted_3N, near_N)


def _robust_fit(terms_34N: Floats, wanted_3N: Floats, weights_N: Floats) -> Floats:
    """Coefficients (3, 4) of the terms that give what is wanted, whatever a few outliers want."""
    terms, wanted = terms_34N.astype(np.float64), wanted_3N.astype(np.float64)
    ridge_44 = 1e-3 * float(weights_N.sum()) * np.diag([1.0, 1.0, 1.0, 0.0])
    errors_N = np.ones(len(weights_N))
    for _ in range(4):
        weighted = terms * (weights_N / np.maximum(errors_N, 0.02))
        normal_344 = weighted @ terms.swapaxes(1, 2) + ridge_44
        fit_34 = np.linalg.solve(normal_344, weighted @ wanted[:, :, None])[..., 0]
        errors_N = np.linalg.norm(wanted - (fit_34[:, None] @ terms)[:, 0], axis=0)
    return np.asarray(fit_34, np.float32)


def _tone_terms(colour_3N: Floats) -> Floats:
    """Terms (3, 4, N) of the tone move of each channel: an affine function times the root."""
    affine_4N = np.vstack([colour_3N, np.ones_like(colour_3N[:1])])
    return np.asarray(np.sqrt(colour_3N)[:, None] * affine_4N)


def _tone_moves(background_CHW: Floats, move_34: Floats) -> Floats:
    """Compute how far the colour transform moves each value, which is nothing at black."""
    moves_3N = move_34[:, :3] @ background_CHW.reshape(3, -1)
    moves_3N += move_34[:, 3:]
    moves_CHW = moves_3N.reshape(background_CHW.shape)
    moves_CHW *= np.sqrt(background_CHW)
    return np.clip(moves_CHW, -_MAX_TONE, _MAX_TONE, out=moves_CHW)
