"""The background's share of finishing: a plate without outlines.

It equals the full video where it is clearly uncovered and is seamless below and beside the
foregrounds.

Shape letters: T frames, H, W, C channels. Arrays are float32 numpy, display-referred sRGB.
Lengths are units of `fill.LINES`. Constants were chosen on the ten published samples (336x192,
`docs/finishing.md`) by outline ratio and by eye.
"""

import cv2
import numpy as np

from layert2v_model.fill import Floats, box_around, distance_to, extend, ramp, summed

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


def known_plate(coverage_HW: Floats) -> Floats:
    """How clearly each pixel of a frame shows the background, in [0, 1]."""
    clear_HW = coverage_HW <= COVERED
    return ramp(distance_to(~clear_HW), KNOWN_FROM, KNOWN_TO) * clear_HW


def correct_plate(background_THWC: Floats, target_THWC: Floats, coverage_THW: Floats) -> Floats:
    """Extend the difference between background and target smoothly under the foregrounds.

    The difference is first explained by one colour transform for the shot, which also restores
    contrast below the foregrounds; what remains is extended by a membrane per frame around a part
    that is smooth in time, so that lifting a foreground shows neither a seam nor a flicker.

    Args:
        background_THWC: The background as generated.
        target_THWC: What it would have to be; read only where it is uncovered.
        coverage_THW: Union of all foregrounds' alphas.

    Returns:
        The plate (T, H, W, 3) in [0, 1]: the target where clearly uncovered, elsewhere the
        background with the extended correction.
    """
    known_THW = np.stack([known_plate(coverage_HW) for coverage_HW in coverage_THW])
    plate_THWC = target_THWC.clip(0, 1)
    box = box_around((coverage_THW > COVERED).any(axis=0), _SAFE_TO + KNOWN_TO)
    if box is not None:
        inside = (slice(None), *box)
        move_43 = _tone_match(background_THWC, target_THWC, known_THW)
        toned_THWC = _toned(background_THWC[inside], move_43)
        difference_THWC = target_THWC[inside] - toned_THWC
        fill_THWC = _hidden_correction(difference_THWC, coverage_THW[inside], known_THW[inside])
        plate_THWC[inside] = (toned_THWC + fill_THWC).clip(0, 1)
    return plate_THWC


def _hidden_correction(difference_THWC: Floats, coverage_THW: Floats, known_THW: Floats) -> Floats:
    """The difference where known, elsewhere a membrane around its part that is smooth in time."""
    frames = range(len(known_THW))
    trust = [_trust(difference_THWC[t], coverage_THW[t], known_THW[t]) for t in frames]
    fill_THWC = np.stack([extend(difference_THWC[t], trust[t]) for t in frames])
    if len(frames) > 1:
        fill_THWC = _blurred_in_time(fill_THWC)
        for t in frames:
            fill_THWC[t] += extend(difference_THWC[t] - fill_THWC[t], trust[t])
    fill_THWC += known_THW[..., None] * (difference_THWC - fill_THWC)
    return fill_THWC


def _trust(difference_HWC: Floats, coverage_HW: Floats, known_HW: Floats) -> Floats:
    """Weight of each known difference as a source for the hidden ones."""
    distance_HW = distance_to(coverage_HW > COVERED)
    safe_HW = ramp(distance_HW, _SAFE_FROM, _SAFE_TO)
    if not safe_HW.any():
        return known_HW
    deviation_HWC = difference_HWC - extend(difference_HWC, safe_HW)
    deviation_HW = cv2.blur(summed(deviation_HWC**2) / 3, (3, 3))
    return known_HW * np.maximum(safe_HW, np.exp(-deviation_HW / np.float32(_CONTAMINATION**2)))


def _tone_match(background_THWC: Floats, target_THWC: Floats, known_THW: Floats) -> Floats:
    """The affine colour move, (4, 3), that best takes background to target where known.

    Source:
        Iteratively reweighted least squares towards the L1 norm (Lawson 1961), with a ridge of
        1e-3 per sample towards no move, so that few or flat samples change little.
    """
    indices = np.flatnonzero(known_THW.reshape(-1) > 0.99)
    indices = indices[:: max(1, len(indices) // _TONE_SAMPLES)]
    if len(indices) < _FEWEST_SAMPLES:
        return np.zeros((4, 3), np.float32)
    samples_N4 = np.ones((len(indices), 4))
    samples_N4[:, :3] = background_THWC.reshape(-1, 3)[indices]
    wanted_N3 = target_THWC.reshape(-1, 3)[indices] - samples_N4[:, :3]
    ridge_44 = 1e-3 * len(indices) * np.diag([1.0, 1.0, 1.0, 0.0])
    weights_N1 = np.ones((len(indices), 1))
    for _ in range(4):
        normal_44 = (samples_N4 * weights_N1).T @ samples_N4 + ridge_44
        move_43 = np.linalg.solve(normal_44, (samples_N4 * weights_N1).T @ wanted_N3)
        errors_N1 = np.linalg.norm(wanted_N3 - samples_N4 @ move_43, axis=1, keepdims=True)
        weights_N1 = 1 / np.maximum(errors_N1, 0.02)
    return move_43.astype(np.float32)


def _toned(background_THWC: Floats, move_43: Floats) -> Floats:
    moved_THWC = background_THWC @ move_43[:3] + move_43[3]
    return background_THWC + moved_THWC.clip(-_MAX_TONE, _MAX_TONE)


def _blurred_in_time(frames_THWC: Floats) -> Floats:
    """Gaussian over frames; at the ends of the shot over the frames there are."""
    num_frames = len(frames_THWC)
    steps = np.arange(num_frames)
    weights_TT = np.exp(-((steps[:, None] - steps) ** 2) / (2 * _STEADY_FRAMES**2))
    weights_TT = np.float32(weights_TT / weights_TT.sum(axis=1, keepdims=True))
    return (weights_TT @ frames_THWC.reshape(num_frames, -1)).reshape(frames_THWC.shape)
